// scheelite sessions: who is connected to a running proxy, what each does and holds; no literal of a statement.

import type { SessionsReport } from '../admin/explain.js';
import { ADMIN_FLAGS, adminTarget, askAdmin } from './admin-client.js';
import { type Command, CommandFailure, EXIT, UsageError } from './command.js';
import { oneLine, plural, table } from './table.js';

const SHAPE_WIDTH = 60;

export const sessions: Command = {
  name: 'sessions',
  details:
    'Asks the admin server of a running proxy. Those that do something, or hold a server connection, come first.\n' +
    'The number of a session is the one that its own driver knows: the process id (PostgreSQL), the connection id.',
  flags: {
    ...ADMIN_FLAGS,
    cluster: { type: 'string', value: 'name', help: 'Only of this cluster.' },
    user: { type: 'string', value: 'name', help: 'Only of this user.' },
    limit: { type: 'string', value: 'count', help: 'At most so many. Default: 100.' },
    json: { type: 'boolean', help: 'Prints the report as JSON.' },
  },

  async run(flags, output) {
    const limit = flags.text('limit');
    if (limit !== null && !/^[1-9]\d{0,3}$/.test(limit))
      throw new UsageError(`--limit needs a number up to 1000, not ${limit}`);
    const query = new URLSearchParams();
    for (const name of ['cluster', 'user', 'limit']) {
      const value = flags.text(name);
      if (value !== null) query.set(name, value);
    }
    const target = await adminTarget(flags);
    const answer = await askAdmin(target, 'GET', `/api/v1/sessions?${query}`);
    if (answer.status !== 200) {
      const { error } = answer.body as { error?: string };
      throw new CommandFailure(error ?? `${target.url} answered status ${answer.status}`);
    }
    const report = answer.body as SessionsReport;
    output.out(flags.on('json') ? JSON.stringify(report, null, 2) : sessionsText(report));
    return EXIT.ok;
  },
};

export function sessionsText({ total, sessions }: SessionsReport): string {
  const rows = sessions.map((session) => [
    session.cluster,
    String(session.id),
    session.user,
    session.database || '-',
    session.application || '-',
    session.address,
    session.transaction === 'idle' ? session.state : `${session.state}, ${session.transaction}`,
    session.node === null ? '-' : `${session.node}${session.shared ? ' (shared)' : ''}`,
    session.pins.join(',') || '-',
    (session.shape ?? '').slice(0, SHAPE_WIDTH),
  ]);
  const header = [
    'CLUSTER',
    'ID',
    'USER',
    'DATABASE',
    'APPLICATION',
    'CLIENT',
    'STATE',
    'ON',
    'PINS',
    'SHAPE',
  ];
  const rest = total - sessions.length;
  return `${table(
    header,
    rows.map((row) => row.map(oneLine)),
  )}\n${plural(total, 'session')}${rest > 0 ? `, ${rest} not shown` : ''}`;
}
