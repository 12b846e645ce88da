// npm run bench -- lexer: what a statement costs on its way to a class, by dialect and size, beside libpg-query's normalize; and what
// the statistics cost a unit. Interleaved rounds, medians; no server.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { loadModule, normalizeSync } from 'libpg-query';
import { createMysqlClassifier } from '../src/sql/mysql/classifier.js';
import { MysqlLexer } from '../src/sql/mysql/lexer.js';
import { createPostgresClassifier } from '../src/sql/postgres/classifier.js';
import { PostgresLexer } from '../src/sql/postgres/lexer.js';
import { Statements } from '../src/telemetry/statements.js';
import { median } from './statistics.js';

const VARIANTS = 64;
const BATCH_MS = 15;

/** Of about that size; the literals differ from one to the next. */
const texts: readonly (readonly [name: string, sql: (n: number) => string])[] = [
  ['10 bytes', (n) => `SELECT ${100 + n}`],
  [
    '100 bytes',
    (n) =>
      `SELECT id, name, email FROM users WHERE id = ${12_300 + n} AND status = 'active' ORDER BY created_at DESC`,
  ],
  [
    '64 kB, numbers',
    (n) =>
      `SELECT * FROM t WHERE a IN (${Array.from({ length: 11_000 }, (_, i) => 10_000 + i + n).join(',')})`,
  ],
  [
    '64 kB, rows',
    (n) =>
      `INSERT INTO t (a, b) VALUES ${Array.from({ length: 2_600 }, (_, i) => `(${10_000 + i + n}, 'some text')`).join(', ')}`,
  ],
  ['64 kB, a string', (n) => `INSERT INTO t (b) VALUES ('${'x'.repeat(65_000)}${100 + n}')`],
];

const postgres = { standardConformingStrings: true } as const;
const mysql = {
  flavour: 'mysql',
  versionNumber: 90_700,
  ansiQuotes: false,
  noBackslashEscapes: false,
  oracleMode: false,
  characterSet: 'utf8mb4',
} as const;

interface Row {
  readonly subject: string;
  readonly text: string;
  readonly bytes: number;
  readonly call: (i: number) => void;
  readonly runs: number[];
  batch: number;
}

function rowsOf(): Row[] {
  const rows: Row[] = [];
  const postgresClassifier = createPostgresClassifier({ catalog: () => null });
  const mysqlClassifier = createMysqlClassifier({ catalog: () => null });
  const postgresLexer = new PostgresLexer();
  const mysqlLexer = new MysqlLexer();
  for (const [text, make] of texts) {
    const strings = Array.from({ length: VARIANTS }, (_, n) => make(n));
    const buffers = strings.map((sql) => Buffer.from(sql));
    const bytes = buffers[0]!.length;
    const at = (i: number) => buffers[i % VARIANTS]!;
    const add = (subject: string, call: (i: number) => void) =>
      rows.push({ subject, text, bytes, call, runs: [], batch: 1 });
    add('postgres: lexer', (i) => postgresLexer.run(at(i), postgres));
    add('postgres: shape known', (i) => void postgresClassifier.classify(at(i), postgres));
    add('postgres: text known', () => void postgresClassifier.classify(buffers[0]!, postgres, true));
    add('libpg-query normalize', (i) => void normalizeSync(strings[i % VARIANTS]!));
    add('mysql: lexer', (i) => mysqlLexer.scan(at(i), mysql));
    add('mysql: shape known', (i) => void mysqlClassifier.classify(at(i), mysql));
  }
  const statements = new Statements();
  const shapes = Array.from({ length: 50 }, (_, i) => `select a from t${i} where b = ?`);
  const book = (i: number) => {
    const record = statements.obtain(shapes[i % shapes.length]!);
    record.calls++;
    record.rows += 1;
    record.bytes += 100;
    record.nodeMs += performance.now() * 1e-9;
    record.queueMs += performance.now() * 1e-9;
    statements.countNode(record, 'a', true);
  };
  rows.push({ subject: 'statistics', text: 'one unit', bytes: 0, call: book, runs: [], batch: 1 });
  return rows;
}

/** Nanoseconds a call. */
function measure(row: Row): number {
  for (;;) {
    const from = performance.now();
    for (let i = 0; i < row.batch; i++) row.call(i);
    const took = performance.now() - from;
    if (took >= BATCH_MS) return (took / row.batch) * 1e6;
    row.batch *= 2;
  }
}

export async function lexerBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: 'string', default: '15' }, json: { type: 'string' } },
  });
  await loadModule();
  const rows = rowsOf();
  // All of them are compiled for all texts before any is measured.
  for (const row of rows) measure(row);
  const rounds = Number(values.rounds);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < rows.length; i++) {
      const row = rows[(i + round * 7) % rows.length]!;
      row.runs.push(measure(row));
    }
  }
  const report = rows.map(({ subject, text, bytes, runs }) => {
    const nanoseconds = median(runs);
    return { subject, text, bytes, nanoseconds, megabytesPerSecond: (bytes / nanoseconds) * 1000, runs };
  });
  for (const { subject, text, nanoseconds, megabytesPerSecond } of report) {
    const rate = `${megabytesPerSecond.toFixed(0)} MB/s`;
    console.log(
      `${text.padEnd(18)}${subject.padEnd(24)}${nanoseconds.toFixed(0).padStart(10)} ns${rate.padStart(14)}`,
    );
  }
  if (values.json !== undefined)
    writeFileSync(
      values.json,
      `${JSON.stringify({ scenario: 'lexer', startedAt: new Date().toISOString(), rounds, rows: report }, null, 2)}\n`,
    );
}
