// What differs between two configurations, change by change, and whether a running proxy can take each one over.
// Pure; it never repeats a secret.

import type {
  AdminConfig,
  ClusterConfig,
  Config,
  LimitsConfig,
  ListenerConfig,
  LogConfig,
  NodeConfig,
  RuleConfig,
  TelemetryConfig,
  UserConfig,
} from './schema.js';

/** `live`: taken over at once, no connection is dropped; `restart`: needs a new process. */
export type Effect = 'live' | 'restart';

export interface Change {
  readonly kind: 'added' | 'removed' | 'changed';
  readonly scope:
    | 'listener'
    | 'cluster'
    | 'node'
    | 'rule'
    | 'user'
    | 'admin'
    | 'log'
    | 'telemetry'
    | 'limits'
    | 'workers'
    | 'busyPollUs';
  /** Of the listener or cluster; `cluster/node`, `cluster/rule` and `cluster/user`; "" for the rest. */
  readonly name: string;
  /** As in `pool.maxWaiting`; "" when the whole thing came or went. */
  readonly setting: string;
  readonly effect: Effect;
  /** `node main/b: weight 1 -> 2`. */
  readonly text: string;
}

type Effects<T> = { readonly [K in keyof Required<T>]: Effect };

// One row a setting: a new one does not compile until somebody has decided.
const LISTENER: Effects<Omit<ListenerConfig, 'name' | 'consistency'>> = {
  host: 'restart',
  port: 'restart',
  cluster: 'restart',
  maxClients: 'live',
  loginTimeoutMs: 'live',
  hints: 'live',
  autoPrepare: 'live',
  sharing: 'live',
  auth: 'live',
};
const LISTENER_CONSISTENCY: Effects<NonNullable<ListenerConfig['consistency']>> = {
  level: 'live',
  // As that of a cluster.
  scope: 'restart',
};
const NODE: Effects<Omit<NodeConfig, 'name'>> = {
  host: 'live',
  port: 'live',
  weight: 'live',
  tags: 'live',
  mode: 'live',
};
const USER: Effects<Omit<UserConfig, 'name'>> = {
  password: 'live',
  verifier: 'live',
  maxServerConnections: 'live',
  sharing: 'live',
  autoPrepare: 'live',
  consistency: 'live',
};
const RULE: Effects<Omit<RuleConfig, 'name'>> = { match: 'live', action: 'live', continue: 'live' };
const MONITOR: Effects<ClusterConfig['monitor']> = {
  user: 'restart',
  password: 'restart',
  database: 'restart',
  intervalMs: 'live',
  timeoutMs: 'live',
};
const POOL: Effects<ClusterConfig['pool']> = {
  maxServerConnections: 'live',
  maxWaiting: 'live',
  waitTimeoutMs: 'live',
  idleTimeoutMs: 'live',
  maxLifetimeMs: 'live',
  connectTimeoutMs: 'live',
};
const SHARING: Effects<ClusterConfig['sharing']> = {
  enabled: 'live',
  maxConnections: 'live',
  growAtDepth: 'live',
  spreadMs: 'live',
  maxGroup: 'live',
  maxDepth: 'live',
  maxHeadMs: 'live',
  maxUsualMs: 'live',
};
const ROUTING: Effects<ClusterConfig['routing']> = {
  splitReads: 'live',
  balance: 'live',
  latencyDecayMs: 'live',
  locality: 'live',
  slowStartMs: 'live',
  readFunctions: 'live',
  writeFunctions: 'live',
  foreignTablesAreReads: 'live',
};
const AUTO_PREPARE: Effects<ClusterConfig['autoPrepare']> = {
  enabled: 'live',
  simpleQueries: 'live',
  threshold: 'live',
  maxStatements: 'live',
};
const CONSISTENCY: Effects<ClusterConfig['consistency']> = {
  level: 'live',
  maxLagMs: 'live',
  boundMs: 'live',
  gate: 'live',
  returnMs: 'live',
  waitMs: 'live',
  // Sessions that share a key must agree on it, those that are there with those that come.
  scope: 'restart',
  maxKeys: 'live',
  keyTtlMs: 'live',
};
const FAILOVER: Effects<ClusterConfig['failover']> = {
  mode: 'live',
  probes: 'live',
  holdMs: 'live',
  blockMs: 'live',
  auditFile: 'restart',
  stateFile: 'restart',
};
const ADMIN: Effects<AdminConfig> = { enabled: 'restart', host: 'restart', port: 'restart', token: 'live' };
const LOG: Effects<LogConfig> = { level: 'live', format: 'restart' };
const TELEMETRY: Effects<TelemetryConfig> = { topStatements: 'live' };
const LIMITS: Effects<LimitsConfig> = {
  maxUnitBytes: 'live',
  maxStatementBytesClassified: 'live',
  maxClientBufferBytes: 'live',
  drainMs: 'live',
};

const SECRET_SETTINGS: readonly string[] = ['password', 'verifier', 'token', 'redis'];

export function diffConfig(before: Config, after: Config): Change[] {
  return [
    ...items('listener', before.listeners, after.listeners, 'restart', (a, b, name) => [
      ...settings('listener', name, '', a, b, LISTENER),
      ...settings(
        'listener',
        name,
        'consistency.',
        a.consistency ?? {},
        b.consistency ?? {},
        LISTENER_CONSISTENCY,
      ),
    ]),
    ...items('cluster', before.clusters, after.clusters, 'restart', diffCluster),
    ...settings('admin', '', '', before.admin, after.admin, ADMIN),
    ...settings('log', '', '', before.log, after.log, LOG),
    ...settings('telemetry', '', '', before.telemetry, after.telemetry, TELEMETRY),
    ...settings('limits', '', '', before.limits, after.limits, LIMITS),
    ...ofProcess('workers', before, after, 'restart'),
    ...ofProcess('busyPollUs', before, after, 'live'),
  ];
}

function ofProcess(scope: 'workers' | 'busyPollUs', before: Config, after: Config, effect: Effect): Change[] {
  if (before[scope] === after[scope]) return [];
  const text = `${scope} ${before[scope]} -> ${after[scope]}`;
  return [{ kind: 'changed', scope, name: '', setting: '', effect, text }];
}

function diffCluster(before: ClusterConfig, after: ClusterConfig, name: string): Change[] {
  const of = <T extends object>(prefix: string, a: T, b: T, effects: Effects<T>) =>
    settings('cluster', name, prefix, a, b, effects);
  return [
    ...of('', { protocol: before.protocol }, { protocol: after.protocol }, { protocol: 'restart' }),
    ...items(
      'node',
      before.nodes,
      after.nodes,
      'live',
      (a, b, node) => settings('node', node, '', a, b, NODE),
      `${name}/`,
    ),
    ...of('monitor.', before.monitor, after.monitor, MONITOR),
    ...of('pool.', before.pool, after.pool, POOL),
    ...of('sharing.', before.sharing, after.sharing, SHARING),
    ...of('routing.', before.routing, after.routing, ROUTING),
    ...of('autoPrepare.', before.autoPrepare, after.autoPrepare, AUTO_PREPARE),
    ...of('consistency.', before.consistency, after.consistency, CONSISTENCY),
    ...of('failover.', before.failover, after.failover, FAILOVER),
    ...diffRules(before, after, name),
    ...of('', { redis: before.redis }, { redis: after.redis }, { redis: 'restart' }),
    ...diffUsers(before, after, name),
  ];
}

function diffRules(before: ClusterConfig, after: ClusterConfig, cluster: string): Change[] {
  const changes = items(
    'rule',
    before.rules,
    after.rules,
    'live',
    (a, b, rule) => settings('rule', rule, '', said(a), said(b), RULE),
    `${cluster}/`,
  );
  const stayed = (rules: readonly RuleConfig[], others: readonly RuleConfig[]): string =>
    rules.flatMap(({ name }) => (others.some((other) => other.name === name) ? name : [])).join(', ');
  const order = stayed(after.rules, before.rules);
  if (order !== stayed(before.rules, after.rules)) {
    const text = `cluster ${cluster}: rules in another order: ${order}`;
    changes.push({
      kind: 'changed',
      scope: 'cluster',
      name: cluster,
      setting: 'rules',
      effect: 'live',
      text,
    });
  }
  return changes;
}

/** Without what it does not say. */
function said(rule: RuleConfig): RuleConfig {
  const there = <T extends object>(part: T): T =>
    Object.fromEntries(Object.entries(part).filter(([, value]) => value !== null)) as T;
  return { ...rule, match: there(rule.match), action: there(rule.action) };
}

function diffUsers(before: ClusterConfig, after: ClusterConfig, cluster: string): Change[] {
  const changes = items(
    'user',
    before.users ?? [],
    after.users ?? [],
    'live',
    (a, b, user) => settings('user', user, '', a, b, USER),
    `${cluster}/`,
  );
  // A list that is there and empty means nobody; one that is absent means everybody.
  if ((before.users === null) !== (after.users === null)) {
    const text = `cluster ${cluster}: users ${after.users === null ? 'are read from the primary' : 'are those of the file'}`;
    changes.unshift({
      kind: 'changed',
      scope: 'cluster',
      name: cluster,
      setting: 'users',
      effect: 'live',
      text,
    });
  }
  return changes;
}

/** Things with names: those that came, those that went, and what changed in the others. */
function items<T extends { readonly name: string }>(
  scope: Change['scope'],
  before: readonly T[],
  after: readonly T[],
  effect: Effect,
  within: (a: T, b: T, name: string) => Change[],
  prefix = '',
): Change[] {
  const changes: Change[] = [];
  const old = new Map(before.map((item) => [item.name, item]));
  const left = new Set(old.keys());
  for (const item of after) {
    const name = prefix + item.name;
    const previous = old.get(item.name);
    left.delete(item.name);
    if (previous !== undefined) changes.push(...within(previous, item, name));
    else changes.push({ kind: 'added', scope, name, setting: '', effect, text: `${scope} ${name}: added` });
  }
  for (const gone of left) {
    const name = prefix + gone;
    changes.push({ kind: 'removed', scope, name, setting: '', effect, text: `${scope} ${name}: removed` });
  }
  return changes;
}

function settings<T extends object>(
  scope: Change['scope'],
  name: string,
  prefix: string,
  before: T,
  after: T,
  effects: Partial<Effects<T>>,
): Change[] {
  const changes: Change[] = [];
  for (const key of Object.keys(effects) as (keyof T & string)[]) {
    const from = valueText(before[key]);
    const to = valueText(after[key]);
    if (from === to) continue;
    const setting = prefix + key;
    const subject = name === '' ? `${scope}.${setting}` : `${scope} ${name}: ${setting}`;
    const how = SECRET_SETTINGS.includes(key) ? 'changed' : `${from} -> ${to}`;
    changes.push({ kind: 'changed', scope, name, setting, effect: effects[key]!, text: `${subject} ${how}` });
  }
  return changes;
}

/** Equal texts mean equal values; objects (tags) in any order of keys. */
function valueText(value: unknown): string {
  if (value === null || value === undefined) return 'none';
  if (typeof value === 'object' && !Array.isArray(value)) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify(Object.fromEntries(entries));
  }
  return typeof value === 'string' || Array.isArray(value) ? JSON.stringify(value) : String(value);
}
