// scheelite status: nodes, roles, lag and pools of a running proxy, as its admin server tells them.

import type { ClusterStatus, NodeStatus, StatusReport, WorkerStatus } from '../admin/source.js';
import { hostPort } from '../lib/address.js';
import { ADMIN_FLAGS, adminTarget, askAdmin } from './admin-client.js';
import { type Command, CommandFailure, EXIT } from './command.js';
import { durationText, plural, shortVersion, table } from './table.js';

export const status: Command = {
  name: 'status',
  details: 'Asks the admin server of a running proxy. Exit code 0 if it answered, whatever it said.',
  flags: { ...ADMIN_FLAGS, json: { type: 'boolean', help: 'Prints the report as JSON.' } },

  async run(flags, output) {
    const target = await adminTarget(flags);
    const answer = await askAdmin(target, 'GET', '/api/v1/status');
    if (answer.status !== 200) throw new CommandFailure(`${target.url} answered status ${answer.status}`);
    const report = answer.body as StatusReport;
    output.out(flags.on('json') ? JSON.stringify(report, null, 2) : statusText(report));
    return EXIT.ok;
  },
};

export function statusText(report: StatusReport): string {
  const { config } = report;
  const head =
    `scheelite ${report.version}, ${report.state} for ${durationText(report.uptimeSeconds * 1000)}, process ${report.pid}\n` +
    `configuration ${config.path ?? '(none)'}, revision ${config.revision}`;
  const reload = config.lastReload;
  const reloadText =
    reload === null
      ? ''
      : `\nlast reload ${reload.at} (${reload.trigger}): ${reload.outcome}${reload.lines.map((line) => `\n  ${line}`).join('')}`;
  const listeners = table(
    ['LISTENER', 'ADDRESS', 'CLUSTER', 'CLIENTS'],
    report.listeners.map((listener) => [
      listener.name,
      hostPort(listener.host, listener.port),
      listener.cluster,
      `${listener.clients}/${listener.maxClients}`,
    ]),
  );
  const workers = report.workers === undefined ? [] : [workersText(report.workers)];
  return [`${head}${reloadText}`, listeners, ...workers, ...report.clusters.map(clusterText)].join('\n\n');
}

function workersText(workers: readonly WorkerStatus[]): string {
  return table(
    ['WORKER', 'PROCESS', 'STATE', 'CLIENTS', 'RESTARTS', 'LAST END'],
    workers.map(({ worker, pid, state, clients, restarts, lastEnd }) => [
      String(worker),
      pid === null ? '-' : String(pid),
      state,
      String(clients),
      String(restarts),
      lastEnd ?? '-',
    ]),
  );
}

function clusterText(cluster: ClusterStatus): string {
  const facts = [
    cluster.state,
    `primary ${cluster.primary ?? 'none'}`,
    `epoch ${cluster.epoch}`,
    `failover ${cluster.failoverMode}`,
    plural(cluster.clients, 'client'),
    ...(cluster.held > 0 ? [`${plural(cluster.held, 'unit')} held`] : []),
    ...Object.entries(cluster.pinned).map(([reason, count]) => `${count} pinned by ${reason}`),
  ];
  const nodes = table(
    [
      'NODE',
      'ADDRESS',
      'ROLE',
      'STATE',
      'MODE',
      'TAKES',
      'LAG',
      'VERSION',
      'OPEN',
      'IDLE',
      'WAITING',
      'NOTE',
    ],
    cluster.nodes.map((node) => [
      node.name,
      hostPort(node.host, node.port),
      node.role,
      node.state,
      node.mode,
      [...(node.takesWrites ? ['writes'] : []), ...(node.takesReads ? ['reads'] : [])].join('+') || '-',
      node.role === 'primary' ? '-' : durationText(node.lagMs),
      shortVersion(node.version),
      `${node.pool.open}/${node.pool.limit}`,
      String(node.pool.idle),
      String(node.pool.waiting),
      noteOf(node),
    ]),
    '  ',
  );
  const rules = cluster.rules.map(({ name, matches, denials }) => [name, String(matches), String(denials)]);
  const ruleTable = rules.length === 0 ? '' : `\n${table(['RULE', 'MATCHES', 'DENIED'], rules, '  ')}`;
  const alerts = cluster.alerts.map((alert) => `\n  alert: ${alert}`).join('');
  return `cluster ${cluster.name} (${cluster.protocol}): ${facts.join(', ')}${alerts}\n${nodes}${ruleTable}`;
}

function noteOf(node: NodeStatus): string {
  const notes = [node.excludedBecause, node.lastError].filter((note) => note !== null && note !== '');
  return [...new Set(notes)].join('; ');
}
