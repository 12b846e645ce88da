// Measures what a statement costs on its way to a class: cached and new shapes, by size, and on the PostgreSQL side
// libpg-query's normalize beside it. Usage: node dist/bench/lexer.js [--dialect postgres|mysql|mariadb] [--seconds 1]

import { parseArgs } from 'node:util';
import { loadModule, normalizeSync } from 'libpg-query';
import { createMysqlClassifier } from '../src/sql/mysql/classifier.js';
import { createPostgresClassifier } from '../src/sql/postgres/classifier.js';

const { values } = parseArgs({
  options: { dialect: { type: 'string', default: 'postgres' }, seconds: { type: 'string', default: '1' } },
});

type Classify = (sql: Buffer) => unknown;

function classifierOf(dialect: string): Classify {
  if (dialect === 'postgres') {
    const classifier = createPostgresClassifier({ catalog: () => null });
    return (sql) => classifier.classify(sql, { standardConformingStrings: true });
  }
  if (dialect !== 'mysql' && dialect !== 'mariadb')
    throw new Error(`--dialect ${dialect}: postgres, mysql or mariadb`);
  const classifier = createMysqlClassifier({ catalog: () => null });
  const settings = {
    flavour: dialect,
    versionNumber: dialect === 'mysql' ? 90700 : 101116,
    ansiQuotes: false,
    noBackslashEscapes: false,
    oracleMode: false,
    characterSet: 'utf8mb4',
  } as const;
  return (sql) => classifier.classify(sql, settings);
}

/** Texts of about the size in their name; every literal differs from call to call where there are several. */
const texts: readonly (readonly [name: string, sql: string])[] = [
  ['10 bytes', 'SELECT 123'],
  [
    '100 bytes',
    "SELECT id, name, email FROM users WHERE id = 12345 AND status = 'active' ORDER BY created_at DESC",
  ],
  [
    '1 kB, a join',
    `SELECT ${Array.from({ length: 30 }, (_, i) => `o.column_${i} AS c${i}`).join(', ')} FROM orders o JOIN accounts a ON a.id = o.account_id WHERE o.status IN ('new', 'paid', 'sent') AND a.name LIKE 'Sm%' LIMIT 50`,
  ],
  [
    '64 kB, a list of numbers',
    `SELECT * FROM t WHERE a IN (${Array.from({ length: 11_000 }, (_, i) => 10_000 + i).join(',')})`,
  ],
  [
    '64 kB, rows to insert',
    `INSERT INTO t (a, b) VALUES ${Array.from({ length: 2_600 }, (_, i) => `(${10_000 + i}, 'some text')`).join(', ')}`,
  ],
  ['64 kB, one string', `INSERT INTO t (b) VALUES ('${'x'.repeat(65_000)}')`],
];

const seconds = Number(values.seconds);

/** Nanoseconds a call; the best of a few runs, since the machine has other work too. */
function measure(call: () => void): number {
  const until = performance.now() + seconds * 1000;
  let batch = 1;
  let best = Number.POSITIVE_INFINITY;
  do {
    const from = performance.now();
    for (let i = 0; i < batch; i++) call();
    const took = performance.now() - from;
    if (took < 20) batch *= 2;
    else best = Math.min(best, (took / batch) * 1e6);
  } while (performance.now() < until || best === Number.POSITIVE_INFINITY);
  return best;
}

function report(name: string, bytes: number, nanoseconds: number): void {
  const rate = `${((bytes / nanoseconds) * 1000).toFixed(0)} MB/s`;
  console.log(`${name.padEnd(44)} ${nanoseconds.toFixed(0).padStart(10)} ns ${rate.padStart(12)}`);
}

await loadModule();
const dialect = values.dialect;
const classify = classifierOf(dialect);
for (const [name, sql] of texts) {
  const bytes = Buffer.from(sql);
  report(
    `${dialect}, known shape, ${name}`,
    bytes.length,
    measure(() => classify(bytes)),
  );
  if (dialect === 'postgres')
    report(
      `libpg-query normalize, ${name}`,
      bytes.length,
      measure(() => normalizeSync(sql)),
    );
}
let number = 0;
const fresh = measure(() =>
  classify(Buffer.from(`SELECT id, name FROM t${number++} WHERE id = 1 AND status = 'active'`)),
);
report(`${dialect}, new shape, 60 bytes`, 60, fresh);
