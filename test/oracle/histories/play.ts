// Plays one history through the proxy and holds every answer against the model; tells what was wrong and the steps so far.

import type { Client, Driver } from '../../e2e/driver.js';
import type { Row } from '../../servers/cluster.js';
import { SessionModel } from './model.js';
import type { Dialect, Step, StepKind } from './steps.js';

export interface Played {
  /** Null: as it must be. */
  readonly wrong: string | null;
  /** What was sent, in order; the last line is the one that went wrong. */
  readonly story: readonly string[];
  readonly model: SessionModel;
}

export interface Theatre {
  readonly dialect: Dialect;
  readonly driver: Driver;
  readonly primaryPort: number;
  /** What the setting is that histories change. */
  readonly standard: string;
  connect(): Promise<Client>;
  /** Rows of the ledger of this client, straight from the primary. */
  ledgerOf(client: number): Promise<readonly Row[]>;
}

const data: readonly StepKind[] = [
  'read',
  'read-setting',
  'insert',
  'delete',
  'lock-row',
  'write-by-function',
  'error',
  'duplicate',
  'refused-write',
];
/** MySQL prepares few others. */
const preparable: Readonly<Record<Dialect, ReadonlySet<StepKind>>> = {
  mysql: new Set(data),
  postgres: new Set([
    ...data,
    'begin',
    'begin-read-only',
    'commit',
    'rollback',
    'savepoint',
    'rollback-to',
    'release',
  ]),
};

/** So long no answer is a hang. */
const HANG_MS = 60_000;

function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), HANG_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const last: Step = { kind: 'rollback', form: 'text', hint: '', n: 0 };

export async function play(theatre: Theatre, id: number, steps: readonly Step[]): Promise<Played> {
  const { dialect, driver } = theatre;
  const model = new SessionModel(dialect, id, theatre.primaryPort, theatre.standard);
  const story: string[] = [];
  const client = await theatre.connect();
  try {
    for (const step of [...steps, last]) {
      const { sql, values, errors, check } = model.turn(step);
      const form = preparable[dialect].has(step.kind) ? step.form : 'text';
      const text = form === 'text' ? inlined(sql, values) : sql;
      story.push(`${form}: ${inlined(sql, values)}`);
      let code = '';
      let wrong: string | null = null;
      try {
        const sent =
          form === 'prepared'
            ? client.execute(text, values)
            : client.query(text, form === 'text' ? [] : values);
        const rows = await inTime(sent);
        if (errors.length === 0) wrong = check(rows);
      } catch (error) {
        code = driver.codeOf(error);
        // InnoDB locks gaps, in which other histories insert: what it ends is not to be foretold.
        if (dialect === 'mysql' && code === '1213') return { wrong: null, story, model };
        if (!errors.includes(code)) wrong = `error ${code}: ${(error as Error).message}`;
      }
      if (code === '' && errors.length > 0) wrong = `no error, but ${errors.join(' or ')} was due`;
      if (wrong !== null) return { wrong, story, model };
    }
    await client.close();
    return { wrong: model.verify(await theatre.ledgerOf(id)), story, model };
  } finally {
    client.kill();
  }
}

function inlined(sql: string, values: readonly unknown[]): string {
  let n = 0;
  return sql.replaceAll('?', () => String(values[n++] ?? '?'));
}
