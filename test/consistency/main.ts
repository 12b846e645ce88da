// npm run consistency: sessions read and write through proxies over late replicas, and their history is checked.
// Exit status: 0 no violation, 1 a violation (each with its story on standard error), 2 wrong command line, or a configuration
// that the proxy refuses.

import { parseArgs } from 'node:util';
import { raiseFileLimit } from '../../bench/file-limit.js';
import { describeError } from '../../src/lib/errors.js';
import { available, type Kind } from '../servers/available.js';
import { oneOf, UsageError, wholeNumber } from '../servers/flags.js';
import { check, type Verdict } from './checker.js';
import { type Level, readHistory, writeHistory } from './history.js';
import type { Scope } from './proxy-settings.js';
import { refusalOf, run } from './run.js';
import { storyOf } from './story.js';

const KINDS: readonly Kind[] = ['postgres', 'mysql', 'mariadb'];
const LEVELS: readonly Level[] = ['session', 'strong', 'eventual'];
const SCOPES: readonly Scope[] = ['connection', 'key'];
const EXIT = { ok: 0, violation: 1, usage: 2 } as const;
const USAGE = `Usage: npm run consistency -- --server postgres|mysql|mariadb [options]
       npm run consistency -- --check FILE

  --operations 100000
  --sessions 64
  --level session            of the proxies: session, strong or eventual
  --demand LEVEL             what the history is judged by; default: the same
  --scope connection         or key: sessions are named in a comment and share connections
  --proxies 1
  --workers 1                processes of each proxy
  --redis                    the proxies share a Redis, which is killed, emptied and frozen
  --failover                 the primary is killed in the middle
  --replicas 3               with three, the last one stays 5 s behind
  --seed N                   repeats the choices; default: by the clock
  --history FILE             writes what was done; --check FILE judges it again`;

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function parse(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      server: { type: 'string' },
      check: { type: 'string' },
      operations: { type: 'string', default: '100000' },
      sessions: { type: 'string', default: '64' },
      level: { type: 'string', default: 'session' },
      demand: { type: 'string' },
      scope: { type: 'string', default: 'connection' },
      proxies: { type: 'string', default: '1' },
      workers: { type: 'string', default: '1' },
      redis: { type: 'boolean', default: false },
      failover: { type: 'boolean', default: false },
      replicas: { type: 'string', default: '3' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      history: { type: 'string' },
    },
  });
  return values;
}

type Values = ReturnType<typeof parse>;

function tell({ violations, facts, total }: Verdict): void {
  for (const violation of violations) say(`\n${storyOf(violation, facts).join('\n')}`);
  if (total > violations.length) say(`\n... and ${total - violations.length} more`);
}

function print(result: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

function counted(verdict: Verdict): Readonly<Record<string, unknown>> {
  const { operations, reads, writes, unknown, sessions, counts, total } = verdict;
  return { operations, reads, writes, unknown, sessions, total, violations: counts };
}

async function judgeFile(file: string): Promise<number> {
  const history = await readHistory(file);
  const verdict = check(history);
  tell(verdict);
  print({ ...history.head.about, ...counted(verdict) });
  return verdict.total > 0 ? EXIT.violation : EXIT.ok;
}

async function watch(values: Values): Promise<number> {
  const kind = oneOf('server', values.server, KINDS);
  const level = oneOf('level', values.level, LEVELS);
  const options = {
    ...{ kind, level },
    demand: values.demand === undefined ? level : oneOf('demand', values.demand, LEVELS),
    scope: oneOf('scope', values.scope, SCOPES),
    operations: wholeNumber('operations', values.operations, 1, 100_000_000),
    sessions: wholeNumber('sessions', values.sessions, 1, 2_000),
    proxies: wholeNumber('proxies', values.proxies, 1, 8),
    workers: wholeNumber('workers', values.workers, 1, 16),
    replicas: wholeNumber('replicas', values.replicas, 1, 8),
    seed: wholeNumber('seed', values.seed, 0, 1_000_000_000),
    ...{ redis: values.redis, failover: values.failover },
  };
  const there = available(kind);
  if (!there.available) {
    say(`${kind}: not there: ${there.reason}`);
    return EXIT.violation;
  }
  raiseFileLimit(options.sessions * 8 + 1_000);
  say(`${kind}: ${options.operations} operations of ${options.sessions} sessions, seed ${options.seed}`);
  let result: Awaited<ReturnType<typeof run>>;
  try {
    result = await run({ ...options, say });
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    say(`the proxy refuses this configuration: ${refusal}`);
    print({ server: kind, ...options, refused: refusal });
    return EXIT.usage;
  }
  const { verdict, history, broken, failures, disturbances, readsOn, replicaShare, lost, seconds } = result;
  if (values.history !== undefined) await writeHistory(values.history, history);
  tell(verdict);
  for (const line of broken) say(`\nthe proxy itself: ${line}`);
  print({
    ...{ server: kind, version: result.version },
    ...options,
    ...counted(verdict),
    ...{
      seconds,
      replicaShare: Number(replicaShare.toFixed(3)),
      replicaReads: readsOn,
      lost,
      failures,
      disturbances,
    },
    broken: broken.length,
  });
  return verdict.total > 0 || broken.length > 0 ? EXIT.violation : EXIT.ok;
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return EXIT.ok;
  }
  try {
    const values = parse(args);
    return await (values.check === undefined ? watch(values) : judgeFile(values.check));
  } catch (error) {
    const wrong =
      error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
    if (!wrong) throw error;
    say(`${describeError(error)}\n\n${USAGE}`);
    return EXIT.usage;
  }
}

process.exitCode = await main();
