// npm run storm: 500 clients against chaos on each kind of server; every reply is checked to be its client's own and in order.
// Exit status: 0 no violation, 1 a violation (each with its story on standard error), 2 wrong command line.

import { parseArgs } from 'node:util';
import { raiseFileLimit } from '../../bench/file-limit.js';
import { describeError } from '../../src/lib/errors.js';
import { available, type Kind } from '../servers/available.js';
import { storm } from './storm.js';
import type { Violation } from './tally.js';

const KINDS: readonly Kind[] = ['postgres', 'mysql', 'mariadb'];
const USAGE = `Usage: npm run storm -- [options]

  --seconds 60        of each storm
  --server KIND       postgres, mysql or mariadb; default: all three, one after the other
  --clients 500
  --workers 1         processes of the proxy
  --seed N            repeats the clients' choices; default: by the clock
  --no-failover       the primary is not killed (it never is in a storm of less than 60 seconds)`;

interface Options {
  readonly seconds: number;
  readonly kinds: readonly Kind[];
  readonly clients: number;
  readonly workers: number;
  readonly seed: number;
  readonly failover: boolean;
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '60' },
      server: { type: 'string' },
      clients: { type: 'string', default: '500' },
      workers: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      'no-failover': { type: 'boolean', default: false },
    },
  });
  const number = (flag: 'seconds' | 'clients' | 'workers' | 'seed', least: number, most: number) => {
    const value = Number(values[flag]);
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new Error(`--${flag} ${values[flag]}: a whole number from ${least} to ${most}`);
  };
  const kind = KINDS.find((each) => each === values.server);
  if (values.server !== undefined && kind === undefined)
    throw new Error(`--server ${values.server}: one of ${KINDS.join(', ')}`);
  const seconds = number('seconds', 1, 1_000_000);
  return {
    seconds,
    kinds: kind === undefined ? KINDS : [kind],
    clients: number('clients', 1, 5_000),
    workers: number('workers', 1, 16),
    seed: number('seed', 0, 1_000_000_000),
    failover: seconds >= 60 && !values['no-failover'],
  };
}

/** Progress and stories are not the result. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function tell({ client, kind, what, asked, got, story }: Violation): void {
  say(`\nVIOLATION, client ${client}, ${kind}: ${what}`);
  if (asked !== '') say(`  asked: ${asked}`);
  if (got !== '') say(`  got:   ${got}`);
  for (const step of story) say(`    ${step}`);
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = parse(process.argv.slice(2));
  } catch (error) {
    say(`${describeError(error)}\n\n${USAGE}`);
    return 2;
  }
  raiseFileLimit(options.clients * 4 + 1_000);
  const storms: unknown[] = [];
  let violations = 0;
  let missing = 0;
  for (const kind of options.kinds) {
    const there = available(kind);
    if (!there.available) {
      say(`${kind}: not there: ${there.reason}`);
      missing++;
      continue;
    }
    say(`${kind}: ${options.clients} clients for ${options.seconds} s, seed ${options.seed}`);
    const { tally, ...about } = await storm({ ...options, kind, say });
    for (const violation of tally.violations) tell(violation);
    violations += tally.violationCount;
    const { answered, failed, chaos, logins, slowestMs, violationCount } = tally;
    storms.push({
      ...about,
      violations: violationCount,
      answers: tally.total,
      ...{ logins, slowestMs, answered, failed, chaos },
    });
  }
  process.stdout.write(`${JSON.stringify({ seed: options.seed, violations, missing, storms })}\n`);
  // A storm that did not take place has proved nothing.
  return violations > 0 || storms.length === 0 ? 1 : 0;
}

process.exitCode = await main();
