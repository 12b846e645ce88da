// Judges by their first words the statements that no replica could run, and finds in their shapes what pins a session. It
// parses nothing.

import type { PinReason, StatementClass } from '../statement.js';
import { primary, statementClass } from './class.js';
import { pinningFunctions } from './functions.js';

/** Statements that begin with these words are parsed; all others are judged here. */
export const parsedWords: ReadonlySet<string> = new Set([
  'select',
  'with',
  'values',
  'table',
  'explain',
  'copy',
  'show',
  'prepare',
  'execute',
  'deallocate',
  'declare',
  'fetch',
  'move',
  'close',
  'set',
  'reset',
  'discard',
  'begin',
  'start',
  'commit',
  'end',
  'rollback',
  'abort',
  'savepoint',
  'release',
]);

/** Of those, the ones that change the session or its transaction: never skipped, whatever stands beside them. */
export const sessionWords: ReadonlySet<string> = new Set(
  [...parsedWords].filter(
    (word) => !['select', 'with', 'values', 'table', 'explain', 'copy', 'show'].includes(word),
  ),
);

/** First word, reason; true for those that change the schema. */
const writers: Readonly<Record<string, readonly [reason: string, ddl: boolean]>> = {
  insert: ['INSERT writes', false],
  update: ['UPDATE writes', false],
  delete: ['DELETE writes', false],
  merge: ['MERGE writes', false],
  truncate: ['TRUNCATE writes', false],
  create: ['CREATE changes the schema', true],
  alter: ['ALTER changes the schema', true],
  drop: ['DROP changes the schema', true],
  import: ['IMPORT FOREIGN SCHEMA changes the schema', true],
  comment: ['COMMENT writes the catalog', false],
  security: ['SECURITY LABEL writes the catalog', false],
  grant: ['GRANT writes the catalog', false],
  revoke: ['REVOKE writes the catalog', false],
  reassign: ['REASSIGN OWNED writes the catalog', false],
  vacuum: ['VACUUM maintains tables', false],
  analyze: ['ANALYZE writes statistics', false],
  analyse: ['ANALYZE writes statistics', false],
  cluster: ['CLUSTER rewrites tables', false],
  repack: ['REPACK rewrites tables', false],
  reindex: ['REINDEX rewrites indexes', false],
  refresh: ['REFRESH rewrites a materialized view', false],
  do: ['DO runs code', false],
  call: ['CALL runs a procedure', false],
  checkpoint: ['CHECKPOINT is for the primary', false],
  lock: ['LOCK locks tables', false],
  listen: ['LISTEN waits for notifications', false],
  unlisten: ['UNLISTEN belongs to LISTEN', false],
  notify: ['NOTIFY is refused by a standby', false],
  load: ['LOAD changes the backend', false],
};

const pinningCall = new RegExp(`\\b(${[...pinningFunctions.keys()].join('|')})"?\\s*\\(`);
const temporaryName = /\bpg_temp(?:_\d+)?"?\s*\./;
const createTemporary = /^create (?:or replace )?(?:(?:global|local) )?temp(?:orary)? /;
const temporaryInto = /\binto (?:(?:global|local) )?temp(?:orary)? /;

const updateSettings = /\b(?:update|into)\s+(?:only\s+)?(?:"?pg_catalog"?\s*\.\s*)?"?pg_settings\b/;

/** What a statement that is not looked at more closely may leave in its session; `shape` is in lower case. */
export function pinInShape(shape: string): PinReason | null {
  const call = pinningCall.exec(shape);
  if (call !== null) return pinningFunctions.get(call[1]!) ?? null;
  // Its rule makes a SET of it.
  if (updateSettings.test(shape)) return 'set-config';
  return temporaryName.test(shape) || temporaryInto.test(shape) ? 'temporary-table' : null;
}

/** The first word of a shape, or "(" where it begins with a bracket. */
export function firstWord(shape: string): string {
  return shape.startsWith('(') ? '(' : (/^[a-z]+/.exec(shape)?.[0] ?? '');
}

/** The class of a statement that begins with none of `parsedWords`. */
export function verbClass(word: string, shape: string): StatementClass {
  const writer = writers[word];
  if (writer === undefined) return primary('UNKNOWN', 'not understood', pinInShape(shape));
  const [reason, ddl] = writer;
  const verb = word === 'analyse' ? 'ANALYZE' : word.toUpperCase();
  if (word === 'create' && createTemporary.test(shape)) {
    // No other session sees it: the catalog stays as it is.
    return primary(verb, 'a temporary object', 'temporary-table');
  }
  if (word === 'listen') return primary(verb, reason, 'listen');
  if (word === 'load') return primary(verb, reason, 'load');
  // ALTER SYSTEM, ALTER ROLE and their like change no object that classification knows.
  const schema = ddl && !/^(?:create|alter|drop) (?:system|role|user|group|database|tablespace) /.test(shape);
  const pin =
    word === 'create' || word === 'alter' || word === 'drop' ? pinOfDefinition(shape) : pinInShape(shape);
  const database = / database /.test(shape) ? emptiedDatabase(shape) : null;
  return statementClass('primary', verb, {
    reasons: [reason],
    pin,
    ddl: schema || /^create user mapping /.test(shape),
    ...(database === null ? {} : { empties: database }),
  });
}

const name = '("(?:[^"]|"")+"|[^\\s"=;]+)';
const emptied = new RegExp(
  `^(?:drop database (?:if exists )?${name}|alter database ${name} (?:rename|set tablespace) )`,
);
const template = new RegExp(`^create database .* template (?:= )?${name}`);

/** The database that PostgreSQL wants nobody else to be connected to: it goes, moves, or is copied. */
function emptiedDatabase(shape: string): string | null {
  if (shape.startsWith('create database ')) return unquoted(template.exec(shape)?.[1] ?? 'template1');
  const found = emptied.exec(shape);
  return found === null ? null : unquoted(found[1] ?? found[2]!);
}

/** Shapes have folded what is not quoted. */
function unquoted(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}

/** A definition names functions without calling them, but CREATE TABLE ... AS calls them. */
function pinOfDefinition(shape: string): PinReason | null {
  if (temporaryName.test(shape)) return 'temporary-table';
  return callsFunctions('create', shape) ? pinInShape(shape) : null;
}

/** Whether functions that such a statement names are called by it. */
export function callsFunctions(word: string, shape: string): boolean {
  if (word !== 'create') return word !== 'alter' && word !== 'drop' && word !== 'comment';
  return /^create (?:unlogged )?(?:table|materialized view) /.test(shape) && / as\b/.test(shape);
}

/** DO: its body is a literal, searched for what would stay in the session. Coarse, and on the safe side. */
export function doClass(text: string): StatementClass {
  const body = text.toLowerCase();
  const base = verbClass('do', '');
  const ddl = /\b(?:create|alter|drop|import)\b/.test(body);
  return { ...base, ddl, pin: pinInBody(body) };
}

function pinInBody(body: string): PinReason | null {
  if (/\btemp(?:orary)?\s/.test(body) || temporaryName.test(body)) return 'temporary-table';
  const call = pinningCall.exec(body);
  if (call !== null) return pinningFunctions.get(call[1]!) ?? null;
  if (updateSettings.test(body)) return 'set-config';
  if (/\blisten\b/.test(body)) return 'listen';
  // A SET that begins a statement; not the one of UPDATE, not SET LOCAL.
  if (/(?:;|'|\$|\b(?:begin|then|else|loop))\s*(?:set|reset)\s+(?!local\b)/.test(body))
    return 'untracked-setting';
  return /(?:;|'|\$|\b(?:begin|then|else|loop))\s*load\s/.test(body) ? 'load' : null;
}
