// The benchmark's command line: from words to checked options.

import { parseArgs } from 'node:util';
import { POLICIES } from './policies.js';
import {
  LATE_MODES,
  MODES,
  type Mode,
  modesFor,
  SCENARIOS,
  type Scenario,
  SERVERS,
  type ServerName,
  SUBJECTS,
  type SubjectName,
  speaks,
} from './scenarios.js';

export class UsageError extends Error {}

export interface Options {
  readonly scenario: Scenario;
  readonly server: ServerName;
  readonly modes: readonly Mode[];
  readonly clients: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  /** Share of the machine that others may take from a run; one that lost more is made again. */
  readonly quiet: number;
  readonly subjects: readonly SubjectName[];
  /** Size of the tables: pgbench's scale; for 1, 20,000 rows in each of sysbench's 4 tables, 250,000 in ours. */
  readonly scale: number;
  readonly json: string | null;
  readonly chart: string | null;
  /** Of the scenario `consistency`: a client's mean pause between two statements, in milliseconds. */
  readonly thinkMs: number;
  /** Of the scenario `consistency`, in place of all. */
  readonly levels: readonly string[] | null;
  /** Processes of Scheelite that serve clients, as its configuration says it. */
  readonly workers: number | 'auto';
  /** A CPU profile of Scheelite, by function. */
  readonly profile: boolean;
}

export const USAGE = `Usage: npm run bench -- <scenario> [options]

${[...SCENARIOS.values()].map(({ name, what }) => `  ${name.padEnd(12)} ${what}`).join('\n')}
  lexer        what a statement costs on its way to a class, without servers (--rounds, --json only)

  --mode simple,extended,prepared,text  how statements are sent; the last two to MySQL and MariaDB
  --mode ${LATE_MODES.join(',')}            of consistency: how far behind the replicas are
  --levels ${POLICIES.join(',')}    of consistency
  --think 0                             of consistency: a client's mean pause between two statements, in ms
  --clients 16,64                       client connections
  --seconds 5                           of each run
  --rounds 3                            the figures are medians over the rounds
  --quiet 100                           percent of the processors that a hypervisor may give to others in a run: else it is made again
  --subjects ${SUBJECTS.join(',')}
  --server ${Object.keys(SERVERS).join('|')}
  --workers 1                           processes of scheelite that serve clients, or auto
  --scale 4                             size of the tables
  --json FILE                           results as JSON
  --chart FILE.svg                      results as a chart; with --json, FILE.svg beside it if not named
  --profile                             where Scheelite spends its time, by function`;

function list(text: string): string[] {
  return text.split(',').filter((word) => word !== '');
}

function oneOf<T extends string>(flag: string, word: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === word);
  if (found === undefined) throw new UsageError(`--${flag} ${word}: one of ${allowed.join(', ')}`);
  return found;
}

function number(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new UsageError(`--${flag} ${text}: a whole number from 1 to ${max}`);
  return value;
}

export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parse(args);
  const [name, ...rest] = positionals;
  const scenario = SCENARIOS.get(name ?? '');
  if (scenario === undefined || rest.length > 0)
    throw new UsageError(`a scenario is missing: one of ${[...SCENARIOS.keys()].join(', ')}`);
  const server = oneOf('server', values.server ?? scenario.servers[0]!, scenario.servers);
  const { kind } = SERVERS[server];
  const modes =
    values.mode === undefined
      ? modesFor(kind, scenario.defaultModes)
      : list(values.mode).map((word) =>
          oneOf('mode', oneOf('mode', word, [...MODES, ...LATE_MODES]), modesFor(kind, scenario.modes)),
        );
  const subjects =
    values.subjects === undefined
      ? scenario.defaultSubjects.filter((subject) => speaks(subject, kind))
      : list(values.subjects).map((word) => oneOf('subjects', word, SUBJECTS));
  const deaf = subjects.find((subject) => !speaks(subject, kind));
  if (deaf !== undefined) throw new UsageError(`--subjects ${deaf}: it does not speak to ${server}`);
  if (scenario.tool === 'late' && subjects.some((subject) => subject !== 'scheelite'))
    throw new UsageError('--subjects: the levels of scheelite are compared with each other');
  if (scenario.tool === 'idle' && subjects.includes('direct'))
    throw new UsageError('--subjects direct: without a proxy there is no memory of a proxy');
  return {
    scenario,
    server,
    modes,
    subjects,
    clients:
      values.clients === undefined
        ? scenario.defaultClients
        : list(values.clients).map((word) => number('clients', word, 20_000)),
    seconds: number('seconds', values.seconds, 3_600),
    rounds: number('rounds', values.rounds, 100),
    quiet: number('quiet', values.quiet, 100) / 100,
    scale: number('scale', values.scale, 1_000),
    json: values.json ?? null,
    chart: values.chart ?? (values.json === undefined ? null : `${values.json.replace(/\.json$/, '')}.svg`),
    thinkMs: values.think === '0' ? 0 : number('think', values.think, 60_000),
    levels:
      values.levels === undefined ? null : list(values.levels).map((word) => oneOf('levels', word, POLICIES)),
    workers: values.workers === 'auto' ? 'auto' : number('workers', values.workers, 64),
    profile: values.profile,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        mode: { type: 'string' },
        clients: { type: 'string' },
        seconds: { type: 'string', default: '5' },
        rounds: { type: 'string', default: '3' },
        quiet: { type: 'string', default: '100' },
        subjects: { type: 'string' },
        server: { type: 'string' },
        scale: { type: 'string', default: '4' },
        json: { type: 'string' },
        chart: { type: 'string' },
        levels: { type: 'string' },
        think: { type: 'string', default: '0' },
        workers: { type: 'string', default: '1' },
        profile: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
