// The steps of a session's history, by seed: what an application may say, in any order, also where it makes no sense. It
// knows neither the state of a session nor an answer.

import type { Random } from '../../storm/random.js';

export type Dialect = 'postgres' | 'mysql';

/** How a statement is sent: text, an unnamed (PostgreSQL) or the same text with values, a statement prepared by the driver. */
export type Form = 'text' | 'values' | 'prepared';

export type StepKind =
  | 'read'
  | 'read-setting'
  | 'insert'
  | 'delete'
  | 'lock-row'
  | 'write-by-function'
  | 'several'
  | 'begin'
  | 'begin-read-only'
  | 'begin-snapshot'
  | 'commit'
  | 'rollback'
  | 'commit-and-write'
  | 'savepoint'
  | 'rollback-to'
  | 'release'
  | 'error'
  | 'duplicate'
  | 'refused-write'
  | 'set'
  | 'set-local'
  | 'reset'
  | 'autocommit-off'
  | 'autocommit-on'
  | 'create-temporary'
  | 'read-temporary'
  | 'prepare-read'
  | 'prepare-write'
  | 'execute'
  | 'deallocate'
  | 'set-variable'
  | 'read-variable';

export interface Step {
  readonly kind: StepKind;
  readonly form: Form;
  /** A leading comment, or ''. */
  readonly hint: string;
  /** Which savepoint, row or value. */
  readonly n: number;
}

type Weights = readonly (readonly [StepKind, number])[];

const common: Weights = [
  ['read', 30],
  ['read-setting', 8],
  ['insert', 14],
  ['delete', 4],
  ['lock-row', 3],
  ['write-by-function', 4],
  ['several', 4],
  ['begin', 12],
  ['begin-read-only', 5],
  ['begin-snapshot', 3],
  ['commit', 14],
  ['rollback', 7],
  ['commit-and-write', 3],
  ['savepoint', 6],
  ['rollback-to', 5],
  ['release', 2],
  ['error', 4],
  ['duplicate', 2],
  ['refused-write', 3],
  ['set', 5],
  ['prepare-read', 2],
  ['prepare-write', 1],
  ['execute', 4],
  ['deallocate', 1],
  ['create-temporary', 0.4],
  ['read-temporary', 1],
];
const weights: Readonly<Record<Dialect, Weights>> = {
  postgres: [...common, ['set-local', 3], ['reset', 2]],
  mysql: [
    ...common,
    ['autocommit-off', 3],
    ['autocommit-on', 5],
    ['set-variable', 0.5],
    ['read-variable', 1],
  ],
};

const hints = [
  '/* scheelite: route=primary */ ',
  '/* scheelite: route=replica */ ',
  '/* scheelite: consistency=primary */ ',
  '/* scheelite: route=replica consistency=eventual maxLagMs=60000 */ ',
  '/* a comment */ ',
];

export function historyOf(random: Random, dialect: Dialect, length: number): Step[] {
  const table = weights[dialect];
  const total = table.reduce((sum, [, weight]) => sum + weight, 0);
  const kind = (): StepKind => {
    let at = random.next() * total;
    for (const [name, weight] of table) {
      at -= weight;
      if (at < 0) return name;
    }
    return 'read';
  };
  return Array.from({ length }, () => ({
    kind: kind(),
    form: random.pick<Form>(['text', 'text', 'values', 'prepared']),
    hint: random.chance(0.15) ? random.pick(hints) : '',
    n: random.int(0, 3),
  }));
}
