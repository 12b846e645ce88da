// Short stories, each of which went wrong once. `#` stands for the number of the tables.

import type { Flavor } from './material.js';
import { type Parameter, plainQuery, type Step } from './steps.js';
import type { Story } from './tell.js';

const double: Parameter = { type: 5, value: Buffer.alloc(8), shown: '0:5' };
const text: Parameter = { type: 253, value: Buffer.from('\x02no'), shown: "'no'" };
const execute = (name: string, value: Parameter): Step => ({
  kind: 'execute',
  name,
  values: [value],
  withTypes: true,
  cursor: false,
});

type Line = string | Step;

/** Behind each a newcomer finds everything as after a login. */
const ALL: readonly (readonly Line[])[] = [
  // DEFAULT is the opposite of these, to MySQL.
  ['SET foreign_key_checks = 0, unique_checks = 0', 'SELECT @@foreign_key_checks'],
  ["SET SESSION session_track_schema = OFF; INSERT INTO a# (v) VALUES ('i')", 'SELECT COUNT(*) FROM a#'],
  [
    { kind: 'prepare', name: 's', sql: 'SELECT ?' },
    { kind: 'prepare', name: 't', sql: 'SELECT ?' },
    execute('s', double),
    execute('t', text),
  ],
  ['USE {db}; CALL s#()', 'SELECT @left'],
  ['CALL s#()', 'SELECT @left, @@sort_buffer_size'],
  ['SELECT g#(1); SET default_week_format = 3', 'SELECT @left'],
  ['SELECT id FROM a# ORDER BY id', 'ROLLBACK AND CHAIN', "UPDATE a# SET v = 'u' WHERE id = 1", 'COMMIT'],
  ['SELECT id FROM a# ORDER BY id', 'GET DIAGNOSTICS @c = ROW_COUNT', "UPDATE a# SET v = 'u' WHERE id = 1"],
  ['START TRANSACTION READ ONLY', 'SELECT COUNT(*) FROM a#', 'TRUNCATE TABLE a#', 'SELECT COUNT(*) FROM a#'],
  ['START TRANSACTION READ ONLY', 'SELECT COUNT(*) FROM a#', 'DROP TEMPORARY TABLE tmp#', 'DELETE FROM a#'],
  ['BEGIN', "SHOW VARIABLES LIKE 'sql_mode'", "INSERT INTO a# (v) VALUES ('i')", 'ROLLBACK'],
  ['SET TRANSACTION READ ONLY', "PREPARE w FROM 'SELECT 1'", 'START TRANSACTION', 'DELETE FROM a#', 'COMMIT'],
  ['USE {db}2', { kind: 'reset-connection' }, 'SELECT DATABASE()', 'SELECT v FROM a# WHERE id = 1'],
  ["SET sql_mode = 'NO_BACKSLASH_ESCAPES'", { kind: 'reset-connection' }, 'SELECT 1'],
  ['SET NAMES utf8mb4 COLLATE utf8mb4_bin', 'SELECT v FROM a# ORDER BY id', 'DELETE FROM a# WHERE 0'],
  [
    { kind: 'set-option', on: false },
    'START TRANSACTION READ ONLY',
    'SELECT COUNT(*) FROM a#',
    'COMMIT; SELECT 1',
    'DELETE FROM a#',
  ],
  ['SET SESSION session_track_state_change = ON', { kind: 'field-list', table: 'a#' }],
  ['SELECT nothing FROM a#', 'SELECT ROW_COUNT()'],
  ['SELECT id FROM a# ORDER BY id', { kind: 'prepare', name: 's', sql: 'SELEC' }, 'SHOW WARNINGS'],
  [{ kind: 'change-user', database: '{db}2' }, 'SELECT DATABASE()'],
];

const OF_MARIADB: readonly (readonly Line[])[] = [
  ['SET STATEMENT sort_buffer_size = 310000 FOR SELECT 1', 'SELECT @@sort_buffer_size'],
];

/** Clients that know EOF packets only. */
const OLD: readonly (readonly Line[])[] = [
  ['SELECT g#(2)', 'SELECT @left, @@sort_buffer_size'],
  ['SELECT h#(2)', 'SELECT @left'],
  ['SELECT f#(2)', "INSERT INTO a# (v, n) VALUES ('j', 10), ('k', 11)"],
];

export function knownStories(flavor: Flavor, n: number): Story[] {
  const numbered = (line: Line): Step => {
    const step: Step = typeof line === 'string' ? plainQuery(line) : line;
    return JSON.stringify(step).includes('#') ? withNumber(step, n) : step;
  };
  const story = (old: boolean) => (lines: readonly Line[]) => ({
    old,
    tracks: true,
    first: 0,
    steps: lines.map(numbered),
  });
  const mine = flavor === 'mariadb' ? [...ALL, ...OF_MARIADB] : ALL;
  return [...mine.map(story(false)), ...OLD.map(story(true))];
}

function withNumber(step: Step, n: number): Step {
  if (step.kind === 'query') return plainQuery(step.sql.replaceAll('#', String(n)));
  return step.kind === 'field-list' ? { ...step, table: step.table.replaceAll('#', String(n)) } : step;
}
