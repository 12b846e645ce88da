// npm run oracle: is what we call a read one? Real servers are asked about statements from every source there is; and, with
// --histories, whether any session's history sends a write to a replica or splits a transaction.
// Exit status: 0 all is well, 1 a finding (each with its story before the figures), 2 wrong command line.

import { parseArgs } from 'node:util';
import { describeError } from '../../src/lib/errors.js';
import { available } from '../servers/available.js';
import { oneOf, wholeNumber } from '../servers/flags.js';
import { lineOf, playHistories } from './histories/run.js';
import { mysqlOracle } from './mysql/run.js';
import { postgresOracle } from './postgres/run.js';
import { findings, summary, type Tally } from './tally.js';

const SERVERS = ['postgres', 'postgres15', 'mysql', 'mariadb'] as const;
type Server = (typeof SERVERS)[number];

const USAGE = `Usage: npm run oracle -- [options]

  --seconds 60     of each server
  --server NAME    ${SERVERS.join(', ')}; default: all, one after the other
  --seed N         repeats the statements; default: by the clock
  --histories N    plays N session histories through a proxy before each server instead`;

interface Options {
  readonly seconds: number;
  readonly servers: readonly Server[];
  readonly seed: number;
  readonly histories: number;
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '60' },
      server: { type: 'string' },
      histories: { type: 'string', default: '0' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  });
  return {
    seconds: wholeNumber('seconds', values.seconds, 0, 1_000_000),
    servers: values.server === undefined ? SERVERS : [oneOf('server', values.server, SERVERS)],
    seed: wholeNumber('seed', values.seed, 0, 1_000_000_000),
    histories: wholeNumber('histories', values.histories, 0, 10_000_000),
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function isThere(server: Server): boolean {
  const there =
    server === 'mysql' || server === 'mariadb'
      ? available(server)
      : available('postgres', server === 'postgres15' ? 15 : 18);
  if (!there.available) say(`${server}: not there: ${there.reason}`);
  return there.available;
}

function ask(server: Server, options: Options): Promise<Tally> {
  const { seconds, seed } = options;
  if (server === 'mysql' || server === 'mariadb') return mysqlOracle({ flavour: server, seconds, seed });
  return postgresOracle({ version: server === 'postgres15' ? 15 : 18, seconds, seed });
}

async function histories({ servers, seed, histories }: Options): Promise<number> {
  let violations = 0;
  let played = 0;
  const lines: string[] = [];
  for (const server of servers.filter(isThere)) {
    const isPostgres = server === 'postgres' || server === 'postgres15';
    const kind = isPostgres ? 'postgres' : server;
    const version = server === 'postgres15' ? { version: 15 as const } : {};
    const report = await playHistories({ kind, ...version, seed, histories, seconds: 0 });
    for (const violation of report.violations) say(`VIOLATION, ${server}: ${violation}`);
    violations += report.violations.length;
    played += report.histories;
    lines.push(lineOf(report));
  }
  for (const line of lines) process.stdout.write(`${line}\n`);
  return violations > 0 || played === 0 ? 1 : 0;
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = parse(process.argv.slice(2));
  } catch (error) {
    say(`${describeError(error)}\n\n${USAGE}`);
    return 2;
  }
  if (options.histories > 0) return histories(options);
  const tallies: Tally[] = [];
  for (const server of options.servers.filter(isThere)) {
    say(`${server}: ${options.seconds} s, seed ${options.seed}`);
    const tally = await ask(server, options);
    for (const sql of tally.stricter.slice(0, 20)) say(`kept on the primary: ${JSON.stringify(sql)}`);
    for (const finding of findings(tally)) say(finding);
    if (tally.disagreements > 0) say(`the walk of the whole tree calls ${tally.disagreements} more a read`);
    tallies.push(tally);
  }
  for (const line of summary(tallies)) process.stdout.write(`${line}\n`);
  // Who has asked nobody has shown nothing.
  return tallies.length === 0 || tallies.some((tally) => tally.writeCount > 0) ? 1 : 0;
}

process.exitCode = await main();
