// scheelite check: validates a configuration, then asks each node that it names what it is, with the monitor's account.
// It changes nothing, and decides nothing that the proxy would not find out by itself.

import { loadConfig } from '../config/load.js';
import type { Loaded } from '../config/loaded.js';
import { problemText } from '../config/problems.js';
import type { ClusterConfig, Config, NodeConfig } from '../config/schema.js';
import { hostPort } from '../lib/address.js';
import { describeError } from '../lib/errors.js';
import {
  type NodeControl,
  ProbeFailure,
  type ProbeReading,
  type StoredVerifier,
} from '../protocol/node-control.js';
import type { PositionFunctions } from '../protocol/position.js';
import { type Command, EXIT, type Output, UsageError } from './command.js';
import { protocolOf } from './protocols.js';
import { plural, shortVersion, table } from './table.js';

const CALL_TIMEOUT_MS = 5_000;
/** Below this, two clocks are taken for the same. */
const SKEW_WORTH_A_WARNING_MS = 1_000;

/** The one place of the command line that speaks SQL: the server's clock, in milliseconds since 1970. */
const CLOCK_SQL: Readonly<Record<ClusterConfig['protocol'], string>> = {
  postgres: 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
  mysql: 'SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS DOUBLE) AS ms',
};

export interface NodeFinding {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly reading: ProbeReading | null;
  /** Why there is none. */
  readonly failure: string | null;
  /** The server's clock minus ours, in ms; null when it could not be read. */
  readonly clockSkewMs: number | null;
  /** Behind the primary, in the unit of the protocol. */
  readonly behind: number | null;
}

export interface ClusterFinding {
  readonly name: string;
  readonly protocol: ClusterConfig['protocol'];
  readonly behindUnit: PositionFunctions['distanceUnit'];
  readonly nodes: readonly NodeFinding[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** One line on where users come from. */
  readonly users: string;
}

export const check: Command = {
  name: 'check',
  details:
    'Validates the configuration, then connects to each node with the account of the monitor and says what it found:\n' +
    'version, role, lag, where it replicates from, clock, and whether passwords can be checked. Changes nothing.\n' +
    'Exit codes: 0 all is well (warnings included), 1 a node or a cluster has a problem, 2 wrong command line,\n' +
    '3 invalid configuration.',
  flags: {
    config: { type: 'string', value: 'file', help: 'Configuration file. Required.' },
    offline: { type: 'boolean', help: 'Validates only; connects to nothing.' },
    json: { type: 'boolean', help: 'Prints one JSON object.' },
  },

  async run(flags, output) {
    const file = flags.text('config');
    if (file === null) throw new UsageError('--config is required');
    const loaded = await loadConfig(file);
    const clusters = loaded.config === null || flags.on('offline') ? [] : await checkClusters(loaded.config);
    const failed = clusters.some((cluster) => cluster.problems.length > 0);
    if (flags.on('json')) printJson(loaded, clusters, output);
    else printText(file, loaded, clusters, output);
    return loaded.config === null ? EXIT.config : failed ? EXIT.failed : EXIT.ok;
  },
};

function checkClusters(config: Config): Promise<ClusterFinding[]> {
  return Promise.all(config.clusters.map(checkCluster));
}

interface Asked {
  readonly finding: NodeFinding;
  readonly control: NodeControl;
}

async function checkCluster(cluster: ClusterConfig): Promise<ClusterFinding> {
  const protocol = await protocolOf(cluster.protocol);
  const { user, password, database } = cluster.monitor;
  const controls: NodeControl[] = [];
  try {
    const asked = await Promise.all(
      cluster.nodes.map(async (node): Promise<Asked> => {
        const control = protocol.createControl(
          { host: node.host, port: node.port },
          { user, password, database, applicationName: 'scheelite check' },
        );
        controls.push(control);
        return { control, finding: await askNode(cluster, node, control) };
      }),
    );
    return await judge(cluster, asked, protocol.positions);
  } finally {
    await Promise.allSettled(controls.map((control) => control.close()));
  }
}

async function askNode(cluster: ClusterConfig, node: NodeConfig, control: NodeControl): Promise<NodeFinding> {
  const base = { name: node.name, host: node.host, port: node.port, clockSkewMs: null, behind: null };
  let reading: ProbeReading;
  try {
    reading = await control.probe(CALL_TIMEOUT_MS);
  } catch (error) {
    const kind = error instanceof ProbeFailure ? `${error.kind}: ` : '';
    return { ...base, reading: null, failure: `${kind}${describeError(error)}` };
  }
  return { ...base, reading, failure: null, clockSkewMs: await clockSkew(cluster, control) };
}

async function clockSkew(cluster: ClusterConfig, control: NodeControl): Promise<number | null> {
  try {
    const sentAtMs = Date.now();
    const [row] = await control.query(CLOCK_SQL[cluster.protocol], CALL_TIMEOUT_MS);
    const serverMs = Number(row?.ms);
    return Number.isFinite(serverMs) ? Math.round(serverMs - (sentAtMs + Date.now()) / 2) : null;
  } catch {
    return null;
  }
}

async function judge(
  cluster: ClusterConfig,
  asked: readonly Asked[],
  positions: PositionFunctions,
): Promise<ClusterFinding> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const primaries = asked.filter(({ finding }) => finding.reading?.role === 'primary');
  const primary = primaries.length === 1 ? primaries[0]! : null;
  const nodes = asked.map(({ finding }): NodeFinding => {
    const reading = finding.reading;
    if (reading === null || primary?.finding.reading == null) return finding;
    return { ...finding, behind: positions.distance(reading.applied, primary.finding.reading.applied) };
  });

  for (const node of nodes) {
    if (node.reading === null) {
      problems.push(
        `node ${node.name}: no answer from ${hostPort(node.host, node.port)} as user "${cluster.monitor.user}": ${node.failure}`,
      );
    } else judgeNode(cluster, node, node.reading, warnings, problems);
  }
  if (primaries.length === 0 && nodes.some((node) => node.reading !== null)) {
    problems.push('there is no primary: every node that answers is a replica');
  }
  if (primaries.length > 1) {
    const names = primaries.map(({ finding }) => finding.name).join(', ');
    problems.push(`more than one node says that it is the primary: ${names}`);
  }
  judgeIdentity(cluster, nodes, problems);
  const skews = nodes.flatMap((node) => (node.clockSkewMs === null ? [] : [node.clockSkewMs]));
  if (skews.length > 0 && Math.max(...skews.map(Math.abs)) > SKEW_WORTH_A_WARNING_MS) {
    const texts = nodes
      .filter((node) => node.clockSkewMs !== null)
      .map((node) => `${node.name} ${node.clockSkewMs} ms`);
    warnings.push(`clocks differ from that of this machine: ${texts.join(', ')}`);
  }
  const users = await usersText(cluster, primary, problems);
  return {
    name: cluster.name,
    protocol: cluster.protocol,
    behindUnit: positions.distanceUnit,
    nodes,
    problems,
    warnings,
    users,
  };
}

function judgeNode(
  cluster: ClusterConfig,
  node: NodeFinding,
  reading: ProbeReading,
  warnings: string[],
  problems: string[],
): void {
  const { role, upstream } = reading;
  if (role === 'primary') {
    if (!reading.writable)
      problems.push(`node ${node.name}: it is a primary that takes no writes (read-only)`);
    return;
  }
  if (reading.writable) warnings.push(`node ${node.name}: it is a replica, and takes writes (not read-only)`);
  if (upstream === null) return;
  const halves = [
    ...(upstream.receiving ? [] : ['receives nothing']),
    ...(upstream.applying ? [] : ['applies nothing']),
  ];
  const because = upstream.lastError === null ? '' : `: ${upstream.lastError}`;
  if (halves.length > 0)
    problems.push(`node ${node.name}: it is a replica that ${halves.join(' and ')}${because}`);
  else if (upstream.lastError !== null) warnings.push(`node ${node.name}: ${upstream.lastError}`);
  const { address } = upstream;
  if (
    address !== null &&
    !cluster.nodes.some((each) => each.host === address.host && each.port === address.port)
  ) {
    const source = hostPort(address.host, address.port);
    warnings.push(
      `node ${node.name}: replicates from ${source}, which is no node of this cluster by that name`,
    );
  }
}

/** PostgreSQL: all nodes of a cluster share the system identifier. MySQL: each server has its own id. */
function judgeIdentity(cluster: ClusterConfig, nodes: readonly NodeFinding[], problems: string[]): void {
  const byId = new Map<string, string[]>();
  for (const { name, reading } of nodes) {
    if (reading !== null) byId.set(reading.serverId, [...(byId.get(reading.serverId) ?? []), name]);
  }
  if (cluster.protocol === 'postgres') {
    if (byId.size < 2) return;
    const groups = [...byId].map(([id, names]) => `${names.join(', ')} (${id})`);
    problems.push(`nodes of different database clusters, by their system identifier: ${groups.join('; ')}`);
    return;
  }
  for (const [id, names] of byId) {
    if (names.length > 1) problems.push(`nodes ${names.join(', ')} have the same server id ${id}`);
  }
}

async function usersText(cluster: ClusterConfig, primary: Asked | null, problems: string[]): Promise<string> {
  if (cluster.users !== null) return `${plural(cluster.users.length, 'user')} in the configuration`;
  if (primary === null) return 'read from the primary, which was not found';
  const { user } = cluster.monitor;
  let verifier: StoredVerifier | null;
  try {
    verifier = await primary.control.verifier(user, CALL_TIMEOUT_MS);
  } catch (error) {
    problems.push(
      `passwords cannot be checked: user "${user}" may not read them (${describeError(error)}); grant it, or list "users"`,
    );
    return 'not readable on the primary';
  }
  return `read from the primary${verifier === null ? '' : ` (${user}: ${verifier.method})`}`;
}

function printJson(loaded: Loaded, clusters: readonly ClusterFinding[], output: Output): void {
  const nodeJson = ({ reading, ...node }: NodeFinding) => ({
    ...node,
    ...(reading === null
      ? { reachable: false }
      : {
          reachable: true,
          role: reading.role,
          writable: reading.writable,
          applied: reading.applied.text,
          received: reading.received.text,
          upstream: reading.upstream,
          timeline: reading.timeline,
          serverId: reading.serverId,
          version: reading.version,
        }),
  });
  output.out(
    JSON.stringify(
      {
        path: loaded.path,
        valid: loaded.config !== null,
        problems: loaded.problems,
        warnings: loaded.warnings,
        clusters: clusters.map((cluster) => ({ ...cluster, nodes: cluster.nodes.map(nodeJson) })),
      },
      null,
      2,
    ),
  );
}

function printText(file: string, loaded: Loaded, clusters: readonly ClusterFinding[], output: Output): void {
  for (const problem of loaded.problems) output.err(problemText(problem, file));
  for (const warning of loaded.warnings) output.err(`warning: ${problemText(warning, file)}`);
  if (loaded.config === null) {
    output.err(`${file}: ${plural(loaded.problems.length, 'problem')}`);
    return;
  }
  output.out(`${file}: valid`);
  for (const cluster of clusters) output.out(`\n${clusterText(cluster)}`);
  const count = clusters.reduce((sum, cluster) => sum + cluster.problems.length, 0);
  if (clusters.length > 0) output.out(count === 0 ? '\nall is well' : `\n${plural(count, 'problem')}`);
}

function clusterText(cluster: ClusterFinding): string {
  const unit = cluster.behindUnit === 'bytes' ? 'B' : 'trx';
  const rows = cluster.nodes.map((node) => {
    const { reading } = node;
    const address = hostPort(node.host, node.port);
    if (reading === null) return [node.name, address, 'no answer', '-', '-', '-', '-'];
    const source = reading.upstream?.address ?? null;
    return [
      node.name,
      address,
      reading.role,
      shortVersion(reading.version),
      reading.role === 'primary' || node.behind === null ? '-' : `${node.behind} ${unit}`,
      source === null ? '-' : hostPort(source.host, source.port),
      node.clockSkewMs === null ? '?' : `${node.clockSkewMs} ms`,
    ];
  });
  return [
    `cluster ${cluster.name} (${cluster.protocol})`,
    table(['NODE', 'ADDRESS', 'ROLE', 'VERSION', 'BEHIND', 'FROM', 'CLOCK'], rows, '  '),
    `  users: ${cluster.users}`,
    ...cluster.warnings.map((warning) => `  warning: ${warning}`),
    ...cluster.problems.map((problem) => `  problem: ${problem}`),
  ].join('\n');
}
