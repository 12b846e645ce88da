// The command line of npm run storm: what is asked for, what is told, and the exit status that it all comes to.
// Who makes it gives it the storm and the machine, so that a test can plant what they answer.

import { parseArgs } from 'node:util';
import { describeError } from '../../src/lib/errors.js';
import type { Availability, Kind } from '../servers/available.js';
import { oneOf, wholeNumber } from '../servers/flags.js';
import type { StormOptions, StormResult } from './storm.js';
import type { Violation } from './tally.js';

const KINDS: readonly Kind[] = ['postgres', 'mysql', 'mariadb'];
const EXIT = { ok: 0, failed: 1, usage: 2 } as const;
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
  const seconds = wholeNumber('seconds', values.seconds, 1, 1_000_000);
  return {
    seconds,
    kinds: values.server === undefined ? KINDS : [oneOf('server', values.server, KINDS)],
    clients: wholeNumber('clients', values.clients, 1, 5_000),
    workers: wholeNumber('workers', values.workers, 1, 16),
    seed: wholeNumber('seed', values.seed, 0, 1_000_000_000),
    failover: seconds >= 60 && !values['no-failover'],
  };
}

export interface Surroundings {
  readonly available: (kind: Kind) => Availability;
  readonly storm: (options: StormOptions) => Promise<StormResult>;
  /** The result: one line. */
  readonly print: (line: string) => void;
  /** Progress and stories, which are not the result. */
  readonly say: (line: string) => void;
}

function tell({ client, kind, what, asked, got, story }: Violation, say: Surroundings['say']): void {
  say(`\nVIOLATION, client ${client}, ${kind}: ${what}`);
  if (asked !== '') say(`  asked: ${asked}`);
  if (got !== '') say(`  got:   ${got}`);
  for (const step of story) say(`    ${step}`);
}

/** Returns the exit status. */
export async function command(args: readonly string[], around: Surroundings): Promise<number> {
  const { print, say } = around;
  if (args.includes('--help')) {
    print(USAGE);
    return EXIT.ok;
  }
  let options: Options;
  try {
    options = parse(args);
  } catch (error) {
    say(`${describeError(error)}\n\n${USAGE}`);
    return EXIT.usage;
  }
  const { kinds, ...each } = options;
  const storms: unknown[] = [];
  /** What speaks against an exit status of 0. */
  const findings: string[] = [];
  let violations = 0;
  for (const kind of kinds) {
    const there = around.available(kind);
    if (!there.available) {
      say(`${kind}: not there: ${there.reason}`);
      findings.push(`${kind} is not there: no storm took place`);
      continue;
    }
    say(`${kind}: ${each.clients} clients for ${each.seconds} s, seed ${each.seed}`);
    const { tally, ...about } = await around.storm({ ...each, kind, say });
    for (const violation of tally.violations) tell(violation, say);
    const { answered, failed, chaos, logins, slowestMs, violationCount, total } = tally;
    violations += violationCount;
    if (violationCount > 0) findings.push(`${kind}: ${violationCount} violations`);
    // Who was told nothing has proved nothing.
    if (total === 0) findings.push(`${kind}: nobody was answered`);
    storms.push({
      ...about,
      violations: violationCount,
      answers: total,
      ...{ logins, slowestMs, answered, failed, chaos },
    });
  }
  const missing = kinds.length - storms.length;
  print(JSON.stringify({ seed: each.seed, violations, missing, storms }));
  for (const finding of findings) say(`FAILED ${finding}`);
  return findings.length > 0 ? EXIT.failed : EXIT.ok;
}
