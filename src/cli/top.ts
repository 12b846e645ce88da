// scheelite top: what statements cost, by shape, as a table that is renewed; from the admin server of a running proxy.

import { setTimeout as sleep } from 'node:timers/promises';
import { STATEMENT_SORTS, type StatementReport, type StatementsReport } from '../admin/statements.js';
import { onOneLine } from '../telemetry/statement-report.js';
import { ADMIN_FLAGS, type AdminTarget, adminTarget, askAdmin } from './admin-client.js';
import { type Command, CommandFailure, EXIT, type Flags, UsageError } from './command.js';
import { table } from './table.js';

const DEFAULT_INTERVAL_S = 2;
const DEFAULT_LIMIT = 20;
/** Where nobody says how wide it is. */
const DEFAULT_WIDTH = 160;
const HOME_AND_CLEAR = '\u001b[H\u001b[J';

export const top: Command = {
  name: 'top',
  details:
    'Asks the admin server of a running proxy for the statements that cost most, by shape, again and again until it is interrupted. ' +
    'Where the output is no terminal, each table stands below the one before.',
  flags: {
    ...ADMIN_FLAGS,
    sort: {
      type: 'string',
      value: 'key',
      help: `Greatest first: ${STATEMENT_SORTS.join(', ')}. Default: time.`,
    },
    limit: { type: 'string', value: 'n', help: `Statements shown. Default: ${DEFAULT_LIMIT}.` },
    cluster: { type: 'string', value: 'name', help: 'Only those of one cluster. Default: all.' },
    interval: {
      type: 'string',
      value: 'seconds',
      help: `Time between two tables. Default: ${DEFAULT_INTERVAL_S}.`,
    },
    once: { type: 'boolean', help: 'One table only.' },
    json: { type: 'boolean', help: 'Prints reports as JSON, one a line.' },
  },

  async run(flags, output) {
    const path = pathOf(flags);
    const intervalMs = intervalOf(flags);
    const target = await adminTarget(flags);
    const asJson = flags.on('json');
    const first = await ask(target, path);
    const screen = process.stdout.isTTY && !asJson && !flags.on('once');
    const stop = new AbortController();
    const end = () => stop.abort();
    if (!flags.on('once')) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
    // Whoever read our pipe has gone.
    process.stdout.once('error', end);
    let before: Seen | null = null;
    let report: StatementsReport | null = first;
    let trouble = '';
    for (;;) {
      const now: Seen | null = report === null ? before : { report, atMs: performance.now() };
      const text = trouble !== '' ? trouble : asJson ? JSON.stringify(report) : topText(now!, before);
      if (screen) process.stdout.write(HOME_AND_CLEAR);
      output.out(text);
      before = now;
      if (flags.on('once')) return EXIT.ok;
      await sleep(intervalMs, undefined, { signal: stop.signal }).catch(() => {});
      if (stop.signal.aborted) return EXIT.ok;
      try {
        report = await ask(target, path);
        trouble = '';
      } catch (error) {
        // It may be starting again.
        if (!(error instanceof CommandFailure)) throw error;
        report = null;
        trouble = asJson ? JSON.stringify({ error: error.message }) : error.message;
      }
    }
  },
};

interface Seen {
  readonly report: StatementsReport;
  readonly atMs: number;
}

function pathOf(flags: Flags): string {
  const sort = flags.text('sort') ?? 'time';
  if (!STATEMENT_SORTS.some((each) => each === sort))
    throw new UsageError(`--sort ${sort}: one of ${STATEMENT_SORTS.join(', ')}`);
  const limit = flags.text('limit') ?? String(DEFAULT_LIMIT);
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > 1000)
    throw new UsageError(`--limit ${limit}: a whole number from 1 to 1000`);
  const query = new URLSearchParams({ sort, limit });
  const cluster = flags.text('cluster');
  if (cluster !== null) query.set('cluster', cluster);
  return `/api/v1/statements?${query}`;
}

function intervalOf(flags: Flags): number {
  const text = flags.text('interval') ?? String(DEFAULT_INTERVAL_S);
  const seconds = Number(text);
  if (!(seconds >= 0.1 && seconds <= 3_600))
    throw new UsageError(`--interval ${text}: seconds from 0.1 to 3600`);
  return seconds * 1000;
}

async function ask(target: AdminTarget, path: string): Promise<StatementsReport> {
  const { status, body } = await askAdmin(target, 'GET', path);
  if (status !== 200) throw new CommandFailure(`${target.url} answered status ${status}`);
  return body as StatementsReport;
}

/** `before`: the table before, for the rates. */
export function topText(now: Seen, before: Seen | null, width = process.stdout.columns): string {
  const { report } = now;
  const several = report.clusters.length > 1;
  const columns = [
    ...(several ? ['CLUSTER'] : []),
    'CALLS',
    'CALLS/S',
    'TIME',
    'MEAN',
    'MAX',
    'PROXY',
    'ROWS',
    'BYTES',
    'ERRORS',
    'NODES',
  ];
  const rows = report.statements.map((statement) => [
    ...(several ? [statement.cluster] : []),
    countText(statement.calls),
    rateText(statement, now, before),
    msText(statement.nodeMs),
    msText(statement.meanNodeMs),
    msText(statement.maxNodeMs),
    msText(statement.proxyMs / statement.calls),
    countText(statement.rows),
    countText(statement.bytes),
    countText(statement.errors),
    nodesText(statement),
  ]);
  const left = table(columns, rows).split('\n');
  const at = Math.max(...left.map((line) => line.length)) + 2;
  const room = Math.max(20, (width ?? DEFAULT_WIDTH) - at);
  const shapes = ['STATEMENT', ...report.statements.map(({ shape }) => cut(onOneLine(shape), room))];
  const lines = left.map((line, i) => `${line.padEnd(at)}${shapes[i] ?? ''}`.trimEnd());
  return [headText(report), '', ...lines].join('\n');
}

function headText(report: StatementsReport): string {
  const clusters = report.clusters.map(({ cluster, tracked, evicted, other }) => {
    const gone = evicted === 0 ? '' : `, ${evicted} lighter ones left out with ${other.calls} calls`;
    return `${cluster}: ${tracked} shapes${gone}`;
  });
  return `since ${report.since}, by ${report.sort}; ${clusters.join('; ')}`;
}

function rateText({ cluster, id, calls }: StatementReport, now: Seen, before: Seen | null): string {
  const old = before?.report.statements.find((each) => each.id === id && each.cluster === cluster);
  if (before === null || old === undefined || before.report.since !== now.report.since) return '-';
  const rate = ((calls - old.calls) * 1000) / (now.atMs - before.atMs);
  // It was left out and has come back.
  return rate < 0 ? '-' : countText(Math.round(rate));
}

/** Three digits at most, so that columns stay where they are. */
function countText(count: number): string {
  if (count < 10_000) return String(Math.round(count));
  for (const [unit, letter] of [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
  ] as const) {
    if (count >= unit) return `${(count / unit).toPrecision(3)}${letter}`;
  }
  return `${Math.round(count / 1000)}k`;
}

function msText(ms: number): string {
  if (ms < 10) return `${ms.toFixed(2)}ms`;
  if (ms < 10_000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 1000);
  return seconds < 100_000 ? `${seconds}s` : `${Math.round(seconds / 3600)}h`;
}

/** "b 60% c 40%", the busiest first. */
function nodesText({ byNode, calls }: StatementReport): string {
  const nodes = Object.entries(byNode).sort(([, a], [, b]) => b - a);
  const shown = nodes
    .slice(0, 3)
    .map(([node, count]) => `${onOneLine(node)} ${Math.round((count / calls) * 100)}%`);
  return [...shown, ...(nodes.length > 3 ? ['...'] : [])].join(' ') || '-';
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 3)}...`;
}
