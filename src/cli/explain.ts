// scheelite explain: what a statement is, where it would go now and why, as a running proxy tells; nothing is run.

import type { ExplainedNode, ExplainReport } from '../admin/explain.js';
import { ADMIN_FLAGS, adminTarget, askAdmin } from './admin-client.js';
import { type Command, CommandFailure, EXIT, UsageError } from './command.js';
import { oneLine, table } from './table.js';

const ENOUGH_BYTES = 500_000;

export const explain: Command = {
  name: 'explain',
  details:
    'Asks the admin server of a running proxy. Nothing is run and nothing changes; the statement is not logged.\n' +
    'With --session it is read as that client would send it, with what the session has seen, set and holds;\n' +
    'without one, as by a client that has just logged in. "scheelite sessions" lists sessions.\n' +
    'Exit code 1 if there is no such cluster or session.',
  positional: { name: 'statement', help: 'The statement; "-" reads it from standard input.' },
  flags: {
    ...ADMIN_FLAGS,
    cluster: { type: 'string', value: 'name', help: 'Needed where there is more than one.' },
    session: { type: 'string', value: 'id', help: 'As this live session sees it.' },
    user: { type: 'string', value: 'name', help: 'Without --session: who sends it.' },
    database: {
      type: 'string',
      value: 'name',
      help: 'Without --session: where; its catalog counts (PostgreSQL).',
    },
    application: { type: 'string', value: 'name', help: 'Without --session: the application.' },
    json: { type: 'boolean', help: 'Prints the report as JSON.' },
  },

  async run(flags, output) {
    const given = flags.positional;
    if (given === null) throw new UsageError('a statement is needed, in quotes');
    const session = flags.text('session');
    if (session !== null && !/^[1-9]\d{0,14}$/.test(session))
      throw new UsageError(`--session needs a number as "scheelite sessions" shows it, not ${session}`);
    const sql = given === '-' ? await standardInput() : given;
    const target = await adminTarget(flags);
    const answer = await askAdmin(target, 'POST', '/api/v1/explain', {
      sql,
      cluster: flags.text('cluster'),
      session: session === null ? null : Number(session),
      user: flags.text('user'),
      database: flags.text('database'),
      application: flags.text('application'),
    });
    if (answer.status !== 200) {
      const { error } = answer.body as { error?: string };
      throw new CommandFailure(error ?? `${target.url} answered status ${answer.status}`);
    }
    const report = answer.body as ExplainReport;
    output.out(flags.on('json') ? JSON.stringify(report, null, 2) : explainText(report));
    return EXIT.ok;
  },
};

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ENOUGH_BYTES) throw new CommandFailure(`the statement is longer than ${ENOUGH_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8').trim();
}

export function explainText(report: ExplainReport): string {
  const { decision, consistency, session, sharing, autoPrepare } = report;
  const rows: [string, string][] = [
    ['cluster', `${report.cluster} (${report.protocol})`],
    ...(session === null ? [] : sessionRows(session)),
    ...named('user', report.user),
    ...named('database', report.database),
    ...named('application', report.application),
    ['shape', report.shape === '' ? '(none)' : report.shape],
    ['class', `${report.route}: ${report.routeMeans}${classExtras(report)}`],
    ...report.reasons.map((reason): [string, string] => ['because', reason]),
    ['hint', report.hint === null ? 'none' : keysAndValues(report.hint)],
    ['rule', report.rule ?? 'none'],
    ...passedRules(report),
    ['consistency', consistencyText(consistency)],
    ['goes to', goesTo(decision)],
    ['because', decision.why],
    ['shares', `${sharing.would ? 'yes' : 'no'}: ${sharing.why}`],
    ...(autoPrepare === null
      ? []
      : ([['prepared', `${autoPrepare.would ? 'yes' : 'no'}: ${autoPrepare.why}`]] as [string, string][])),
    ...report.notes.map((note): [string, string] => ['note', note]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, text]) => `${name.padEnd(width)}${oneLine(text)}`);
  const nodes = table(
    ['NODE', 'ROLE', 'TAKES IT', 'WHY'],
    report.nodes.map(({ name, role, verdict, why }) => [name, role, VERDICTS[verdict], why]),
  );
  return `${lines.join('\n')}\n\n${nodes}`;
}

const VERDICTS: Readonly<Record<ExplainedNode['verdict'], string>> = {
  chosen: 'yes',
  also: 'could',
  'passed-over': 'no',
};

function sessionRows(session: NonNullable<ExplainReport['session']>): [string, string][] {
  const { id, state, transaction, pins, node, settings, tracked } = session;
  const holds = node === null ? '' : `, on ${node}`;
  return [
    ['session', `${id}, ${state}, transaction ${transaction}${holds}`],
    ...(pins.length === 0 ? [] : ([['pins', pins.join(', ')]] as [string, string][])),
    ['settings', keysAndValues(settings) || 'as after the login'],
    ...(tracked.length === 0 ? [] : ([['also set', tracked.join(', ')]] as [string, string][])),
  ];
}

/** Those that do not match, with the reason. */
function passedRules({ rules }: ExplainReport): [string, string][] {
  return rules.filter(({ matches }) => !matches).map(({ rule, why }) => ['not', `rule ${rule}: ${why}`]);
}

function named(name: string, value: string): [string, string][] {
  return value === '' ? [] : [[name, value]];
}

function classExtras({ verb, statements, pin, transaction, ddl }: ExplainReport): string {
  const extras = [
    ...(verb === '' ? [] : [verb]),
    ...(statements > 1 ? [`${statements} statements`] : []),
    ...(transaction === null ? [] : [`transaction control: ${transaction}`]),
    ...(pin === null ? [] : [`keeps the server connection: ${pin}`]),
    ...(ddl ? ['changes the schema'] : []),
  ];
  return extras.length === 0 ? '' : ` (${extras.join('; ')})`;
}

function consistencyText(consistency: ExplainReport['consistency']): string {
  const { level, key, maxLagMs, splitReads, watermark, watermarkPending, lastReplica, moveFloor } =
    consistency;
  return [
    `${level}, lag up to ${maxLagMs} ms`,
    ...(key === null ? [] : [`whose writes: ${key}`]),
    ...(splitReads ? [] : ['reads are not split']),
    ...(watermarkPending ? ['what it must see is not known yet'] : []),
    ...(watermark === null || watermarkPending ? [] : [`must see ${watermark}`]),
    ...(lastReplica === null || lastReplica === '' ? [] : [`read last on ${lastReplica}`]),
    ...(moveFloor === null
      ? []
      : [`elsewhere it must see ${moveFloor === 'unknown' ? 'what is not known yet' : moveFloor}`]),
  ].join('; ');
}

function goesTo({ kind, node }: ExplainReport['decision']): string {
  switch (kind) {
    case 'node':
    case 'held-connection':
      return node ?? '?';
    case 'hold':
      return 'nowhere yet: it is held';
    case 'proxy':
      return 'no node';
    case 'refused':
      return 'no node: it is refused';
  }
}

function keysAndValues(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}
