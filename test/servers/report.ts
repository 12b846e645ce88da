// A program for test/run: says which servers this run has, loudly if one is missing; fails for that under CI=true.

import { type Availability, available, availablePeer, versionOf } from './available.js';

const rows: readonly (readonly [string, Availability])[] = [
  ['PostgreSQL 18', available('postgres', 18)],
  ['PostgreSQL 15', available('postgres', 15)],
  ['MariaDB', available('mariadb')],
  ['MySQL', available('mysql')],
  ['Redis', availablePeer('redis')],
  ['PgBouncer', availablePeer('pgbouncer')],
  ['HAProxy', availablePeer('haproxy')],
  ['MySQL Router', availablePeer('mysqlrouter')],
  ['Pgpool-II', availablePeer('pgpool')],
];

function version(name: string, program: string): string {
  if (name === 'PostgreSQL 18') return 'npm'; // root may not be able to run it where it lies
  try {
    const text = versionOf(program);
    return text === 'unknown' ? '' : text;
  } catch {
    return '';
  }
}

let missing = 0;
for (const [name, what] of rows) {
  if (what.available) console.log(`${name.padEnd(16)}${version(name, what.program)}`);
  else {
    missing++;
    console.log(`${name.padEnd(16)}MISSING: ${what.reason}`);
  }
}
if (missing > 0) {
  console.log(
    `\n*** ${missing} of ${rows.length} servers are missing; the tests that need them are skipped. ***`,
  );
  if (process.env.CI === 'true') process.exitCode = 1;
}
