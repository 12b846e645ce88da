// The configuration file as a schema: the one source of its types, its JSON Schema and its documentation.
// It knows no file, no environment and no server; what depends on several fields is in resolve.ts and checks.ts.

import { z } from 'zod';
import type { RuleConfig } from './rules.js';
import { autoPrepareSchema, ownAutoPrepareSchema } from './schema-prepare.js';
import { ruleSchema } from './schema-rules.js';
import { type ResolvedRedis, redisSchema, SCOPE_TEXT, scopeSchema } from './schema-scope.js';
import { secretSchema } from './schema-secret.js';

/** The highest delay that setTimeout takes. */
const MAX_TIMER_MS = 2_147_483_647;

const duration = (min: number, max = MAX_TIMER_MS) => z.int().min(min).max(max);
/** Where a whole one is much. */
const milliseconds = (max: number) => z.number().min(0).max(max);
const count = (min: number, max = 1_000_000) => z.int().min(min).max(max);
const bytes = (min: number, max: number) => z.int().min(min).max(max);
const name = () => z.string().min(1).max(63);
const port = (min: 0 | 1) => z.int().min(min).max(65_535);

export const CONSISTENCY_LEVELS = ['session', 'eventual', 'bounded', 'strong', 'primary'] as const;

/** How a listener lets clients prove who they are. */
export const AUTH_METHODS = ['auto', 'trust', 'password', 'md5', 'scram-sha-256'] as const;

export const listenerSchema = z.strictObject({
  name: name().optional().describe('Name in log, status and metrics. Default: host:port.'),
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address to listen on; 0.0.0.0 or :: for all. Default: 127.0.0.1.'),
  port: port(0)
    .optional()
    .describe('TCP port; 0 takes a free one. Default: 6432 for PostgreSQL, 6446 for MySQL and MariaDB.'),
  cluster: name()
    .optional()
    .describe('Name of the cluster behind this listener. Default: the cluster, where there is only one.'),
  maxClients: count(1).default(10_000).describe('Client connections at a time. Default: 10000.'),
  loginTimeoutMs: duration(100)
    .default(10_000)
    .describe('Time for a client to log in, in milliseconds. Default: 10000.'),
  hints: z
    .boolean()
    .default(true)
    .describe('Whether leading comments /* scheelite: ... */ are obeyed. Default: true.'),
  autoPrepare: ownAutoPrepareSchema
    .optional()
    .describe('In place of what the cluster says (PostgreSQL). Default: as the cluster.'),
  sharing: z
    .strictObject({
      enabled: z.boolean().describe('Whether short reads of its clients share server connections.'),
    })
    .optional()
    .describe('In place of the switch of the cluster. Default: as the cluster.'),
  consistency: z
    .strictObject({
      level: z
        .enum(CONSISTENCY_LEVELS)
        .optional()
        .describe('As the level of the cluster, for the clients of this listener. Default: as there.'),
      scope: scopeSchema()
        .optional()
        .describe('As the scope of the cluster, for the clients of this listener. Default: as there.'),
    })
    .optional()
    .describe('In place of what the cluster says. Default: as the cluster.'),
  auth: z
    .enum(AUTH_METHODS)
    .default('auto')
    .describe(
      'How clients authenticate: auto follows what is stored for the user; trust asks for nothing; the rest is PostgreSQL only. Default: auto.',
    ),
});

export const NODE_MODES = ['online', 'offline', 'drain', 'standby-only'] as const;

export const nodeSchema = z.strictObject({
  name: name().optional().describe('Name in log, status and metrics. Default: host:port.'),
  host: z.string().min(1).max(255).describe('Host name or address of the database server.'),
  port: port(1).optional().describe('TCP port. Default: 5432 for PostgreSQL, 3306 for MySQL and MariaDB.'),
  weight: count(0, 1000)
    .default(1)
    .describe(
      'Share of the reads beside the other nodes, but under balance "round-robin"; 0 takes reads only when no other replica may, under any. Default: 1.',
    ),
  tags: z
    .record(z.string().min(1).max(63), z.string().max(255))
    .default({})
    .describe('Free labels, for example zone. Default: none.'),
  mode: z
    .enum(NODE_MODES)
    .default('online')
    .describe(
      'online: takes part; drain: nothing new is sent to it, what is there finishes, and it is not promoted; offline: the same, and what is there is ended at once; standby-only: no reads, but may be promoted. What needs a primary is held while that is set to drain or offline. Default: online.',
    ),
});

export const monitorSchema = z.strictObject({
  user: name()
    .optional()
    .describe('Account that probes the nodes. Default: postgres for PostgreSQL, root for MySQL and MariaDB.'),
  password: secretSchema.optional().describe('Its password. Default: empty.'),
  database: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .describe('Database that it connects to. Default: postgres for PostgreSQL, mysql for MySQL and MariaDB.'),
  intervalMs: duration(100, 60_000)
    .default(200)
    .describe('Time between two probes of a node, in milliseconds. Default: 200.'),
  timeoutMs: duration(50, 60_000)
    .default(1_000)
    .describe('Time for a node to answer a probe, in milliseconds. Default: 1000.'),
});

export const poolSchema = z.strictObject({
  maxServerConnections: count(1, 10_000)
    .default(20)
    .describe('Server connections of a node at a time, for all users together. Default: 20.'),
  maxWaiting: count(0)
    .default(10_000)
    .describe('Units that may wait for a server connection of a node. Default: 10000.'),
  waitTimeoutMs: duration(1)
    .default(10_000)
    .describe('How long a unit waits for a server connection, in milliseconds. Default: 10000.'),
  idleTimeoutMs: duration(1_000)
    .default(600_000)
    .describe('A server connection idle for longer is closed, in milliseconds. Default: 600000.'),
  maxLifetimeMs: duration(1_000)
    .default(3_600_000)
    .describe(
      'A server connection older than this is closed once it is idle, in milliseconds. Default: 3600000.',
    ),
  connectTimeoutMs: duration(10, 600_000)
    .default(5_000)
    .describe('Time to connect and log in to a node, in milliseconds. Default: 5000.'),
});

export const sharingSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe(
      'Whether short reads of several clients are pipelined on one server connection. Default: true.',
    ),
  maxConnections: count(1, 1_000)
    .default(4)
    .describe(
      'Server connections of a node, for one user, database and session state, on which cheap reads are pipelined. Default: 4.',
    ),
  growAtDepth: count(1, 10_000)
    .default(16)
    .describe('Another of them is used too when so many units are under way on each. Default: 16.'),
  spreadMs: milliseconds(10_000)
    .default(0.25)
    .describe(
      'A kind of read that usually takes so long is not cheap: it goes behind others only where no server connection is idle, if that measures better, in milliseconds. Default: 0.25.',
    ),
  maxDepth: count(2, 10_000)
    .default(256)
    .describe('Units under way on a shared server connection at a time. Default: 256.'),
  maxUsualMs: milliseconds(10_000)
    .default(5)
    .describe(
      'A kind of read that usually takes longer, on its way to the node and back too, has a server connection to itself, in milliseconds. Default: 5.',
    ),
  maxGroup: count(1, 1_000)
    .default(16)
    .describe(
      'PostgreSQL: so many cheap reads of the extended protocol that come at the same time leave with one Sync, as one implicit transaction; 1: each with its own. Not where transactions are SERIALIZABLE, nor in databases with a function that is not volatile and calls set_config, or a volatile one among `readFunctions`. Default: 16.',
    ),
  maxHeadMs: duration(1, 10_000)
    .default(10)
    .describe(
      'A read that runs longer makes nobody wait: those behind it run elsewhere, in milliseconds. Default: 10.',
    ),
});

export const BALANCE_POLICIES = ['round-robin', 'weighted', 'least-outstanding', 'peak-ewma'] as const;

const functionNames = () => z.array(z.string().min(1).max(127)).max(10_000).default([]);

export const routingSchema = z.strictObject({
  splitReads: z
    .boolean()
    .default(true)
    .describe(
      'Whether reads outside transactions go to replicas; false sends everything to the primary. Default: true.',
    ),
  balance: z
    .enum(BALANCE_POLICIES, {
      error: ({ input }) =>
        input === 'least-connections' ? '"least-connections" is called "least-outstanding" now' : undefined,
    })
    .default('round-robin')
    .describe(
      'How reads are spread over the replicas that are fresh enough: in turn; by weight; where the fewest units are under way, by weight; or where these, times what a short read takes there lately, are the least. Default: round-robin.',
    ),
  latencyDecayMs: duration(100, 3_600_000)
    .default(10_000)
    .describe(
      'For balance "peak-ewma": a latency that was seen so long ago counts for a third, in milliseconds. Default: 10000.',
    ),
  locality: z
    .strictObject({
      tag: z.string().min(1).max(63).describe('Name of the tag, for example zone.'),
      value: z.string().max(255).describe('What it says of the nodes that are near this proxy.'),
    })
    .optional()
    .describe(
      'Nodes with this tag take the reads while any of them may; the others only else. Default: none, all are as near.',
    ),
  slowStartMs: duration(0, 3_600_000)
    .default(0)
    .describe(
      'Time in which the share of reads of a node that was away for more than half a second grows from a tenth to the whole, in milliseconds; 0: at once. Default: 0.',
    ),
  readFunctions: functionNames().describe(
    'Functions that are pure reads whatever the catalog says, as name or schema.name. Default: none.',
  ),
  writeFunctions: functionNames().describe(
    'Functions that write whatever the catalog says, as name or schema.name. Default: none.',
  ),
  foreignTablesAreReads: z
    .boolean()
    .default(false)
    .describe('Whether a read of a foreign table (PostgreSQL) may go to a replica. Default: false.'),
});

export const consistencySchema = z.strictObject({
  level: z
    .enum(CONSISTENCY_LEVELS)
    .default('session')
    .describe(
      'session: a read sees the own writes of its session and never goes back in time; eventual: any replica within maxLagMs; bounded: what the primary had boundMs ago; strong: what the primary had when the read arrived; primary: reads go to the primary. Default: session.',
    ),
  maxLagMs: duration(0)
    .default(10_000)
    .describe('A replica that lags more takes no reads, in milliseconds. Default: 10000.'),
  boundMs: duration(0)
    .default(1_000)
    .describe('How old what a read sees may be at level bounded, in milliseconds. Default: 1000.'),
  gate: z
    .boolean()
    .default(true)
    .describe(
      'Whether a replica that may have caught up since its last probe is asked for its position together with a read. Default: true.',
    ),
  returnMs: duration(0, 1_000)
    .default(50)
    .describe(
      'How long a read of a session that has come to read on the primary, because replicas are behind what it wrote or saw, waits for a replica that will soon have it, in milliseconds; 0: not at all. Default: 50.',
    ),
  waitMs: duration(0)
    .default(0)
    .describe(
      'How long a read waits for a replica that has what it needs before it goes to the primary, in milliseconds. Default: 0.',
    ),
  scope: scopeSchema().default('connection').describe(SCOPE_TEXT),
  maxKeys: count(1, 10_000_000)
    .default(100_000)
    .describe(
      'Keys that are remembered, in each process, where the scope is not the connection; beyond it the one that was not used for longest is forgotten, and is served by the primary once. Default: 100000.',
    ),
  keyTtlMs: duration(60_000)
    .default(3_600_000)
    .describe('A key that has not been used for so long is forgotten, in milliseconds. Default: 3600000.'),
});

export const failoverSchema = z.strictObject({
  mode: z
    .enum(['off', 'automatic'])
    .default('off')
    .describe('automatic: a dead primary is replaced by its most up-to-date replica. Default: off.'),
  probes: count(1, 1_000)
    .default(3)
    .describe('Probes in a row that the primary must miss before it counts as dead. Default: 3.'),
  holdMs: duration(0)
    .default(30_000)
    .describe('How long units are held while there is no primary, in milliseconds. Default: 30000.'),
  blockMs: duration(0)
    .default(3_600_000)
    .describe(
      'No second automatic failover within this time of the first, in milliseconds. Default: 3600000.',
    ),
  auditFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File to which every role change is appended as JSON lines, relative to the configuration file. Default: none.',
    ),
  stateFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File that keeps the epoch and former primaries across restarts, relative to the configuration file. Default: none.',
    ),
});

export const userSchema = z.strictObject({
  name: name().describe('Name of the database user.'),
  password: secretSchema.optional().describe('Password, for clients and for nodes. Default: none.'),
  verifier: secretSchema
    .optional()
    .describe(
      'Stored verifier in place of the password: SCRAM-SHA-256$... or md5... (PostgreSQL), *... (mysql_native_password). Default: none.',
    ),
  maxServerConnections: count(1, 10_000)
    .optional()
    .describe('Server connections of a node at a time for this user. Default: the limit of the pool.'),
  sharing: z
    .strictObject({
      enabled: z.boolean().describe('Whether short reads of this user share server connections.'),
    })
    .optional()
    .describe('In place of the switch of the listener or cluster. Default: as there.'),
  autoPrepare: ownAutoPrepareSchema
    .optional()
    .describe('In place of what the listener or cluster says (PostgreSQL). Default: as there.'),
  consistency: z
    .strictObject({
      level: z.enum(CONSISTENCY_LEVELS).describe('As the level of the cluster, for this user.'),
    })
    .optional()
    .describe('In place of what the listener or cluster says. Default: as there.'),
});

export const clusterSchema = z.strictObject({
  name: name().default('main').describe('Name in log, status and metrics. Default: main.'),
  protocol: z.enum(['postgres', 'mysql']).describe('postgres, or mysql for MySQL and MariaDB.'),
  nodes: z
    .array(nodeSchema)
    .min(1)
    .max(64)
    .describe('The database servers; which one is the primary is found by asking them.'),
  monitor: monitorSchema.prefault({}).describe('How the nodes are probed.'),
  pool: poolSchema.prefault({}).describe('Server connections, for each node.'),
  sharing: sharingSchema.prefault({}).describe('Pipelining of many clients on few server connections.'),
  routing: routingSchema.prefault({}).describe('What goes where.'),
  autoPrepare: autoPrepareSchema
    .prefault({})
    .describe('Preparing of unnamed statements that recur, for PostgreSQL.'),
  consistency: consistencySchema.prefault({}).describe('How fresh a replica must be.'),
  failover: failoverSchema.prefault({}).describe('What happens when the primary dies.'),
  rules: z
    .array(ruleSchema(CONSISTENCY_LEVELS))
    .max(1_000)
    .default([])
    .describe(
      'What holds for some users, clients or statements only; tried in order, the first that matches decides. Default: none.',
    ),
  redis: redisSchema
    .optional()
    .describe(
      'Where several proxies share what the keys of their sessions have written and seen. Default: none, each proxy by itself.',
    ),
  users: z
    .array(userSchema)
    .max(100_000)
    .optional()
    .describe(
      'Users who may log in. Default: every user of the database, by the verifiers read from the primary.',
    ),
});

export const adminSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether the admin HTTP server is started. Default: true.'),
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on. Default: 127.0.0.1.'),
  port: port(0).default(9464).describe('TCP port; 0 takes a free one. Default: 9464.'),
  token: secretSchema
    .optional()
    .describe('Bearer token for calls that change something; without one they are refused. Default: none.'),
});

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export const logSchema = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info').describe('Least severity that is written. Default: info.'),
  format: z
    .enum(['json', 'pretty'])
    .default('json')
    .describe('json: one object a line; pretty: for people. Default: json.'),
});

export const telemetrySchema = z.strictObject({
  topStatements: count(0, 100)
    .default(10)
    .describe(
      "Statements with metrics of their own: those that took most of the nodes' time, by shape; 0 for none. Default: 10.",
    ),
});

export const limitsSchema = z.strictObject({
  maxUnitBytes: bytes(65_536, 1_073_741_824)
    .default(268_435_456)
    .describe('Size of one message or unit of a client, in bytes. Default: 268435456.'),
  maxStatementBytesClassified: bytes(1_024, 16_777_216)
    .default(262_144)
    .describe('A longer statement is not classified and goes to the primary, in bytes. Default: 262144.'),
  maxClientBufferBytes: bytes(16_384, 1_073_741_824)
    .default(1_048_576)
    .describe(
      'Reply bytes buffered for a client that reads slowly before its server is paused. Default: 1048576.',
    ),
  drainMs: duration(0)
    .default(30_000)
    .describe('Time for clients to finish at shutdown, in milliseconds. Default: 30000.'),
});

export const configSchema = z
  .strictObject({
    $schema: z.string().optional().describe('Where editors find the JSON Schema; not used by the proxy.'),
    listeners: z.array(listenerSchema).min(1).max(256).describe('Where clients connect.'),
    clusters: z.array(clusterSchema).min(1).max(256).describe('What stands behind the listeners.'),
    admin: adminSchema.prefault({}).describe('The HTTP server for metrics, health and status.'),
    log: logSchema.prefault({}).describe('What is logged, and how.'),
    telemetry: telemetrySchema.prefault({}).describe('What is told of statements.'),
    limits: limitsSchema.prefault({}).describe('Bounds that hold for every client connection.'),
    workers: z
      .union([count(1, 64), z.literal('auto')])
      .default(1)
      .describe(
        'Processes that serve clients: 1 is everything in one, "auto" as many as there are cores. Limits hold over all of them. Default: 1.',
      ),
    busyPollUs: z
      .union([count(0, 1_000), z.literal('auto')])
      .default('auto')
      .describe(
        'For how long, in microseconds, a process with few busy clients looks for input before it goes to sleep, where the last waits were that short. It takes processor time for shorter waits. 0: never. "auto" is 200, or 0 where the process may use less than two processors. Default: auto.',
      ),
  })
  .describe('Configuration of Scheelite.');

/** What may stand in the file; everything with a default may be absent. */
export type ConfigInput = z.input<typeof configSchema>;
/** The file after its defaults, before secrets, names and defaults by protocol are filled in. */
export type ParsedConfig = z.output<typeof configSchema>;
export type { Secret } from './schema-secret.js';

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;
/** T with the fields K always there, as V. */
type Filled<T, K extends keyof T, V> = Omit<T, K> & { [F in K]-?: V };

/** `listeners[i]` with nothing left out. */
export type ListenerConfig = DeepReadonly<
  Filled<Filled<z.output<typeof listenerSchema>, 'name' | 'cluster', string>, 'port', number>
>;
export type AuthMethod = ListenerConfig['auth'];

export type NodeConfig = DeepReadonly<
  Filled<Filled<z.output<typeof nodeSchema>, 'name', string>, 'port', number>
>;
export type NodeMode = NodeConfig['mode'];

export type MonitorConfig = DeepReadonly<
  Filled<z.output<typeof monitorSchema>, 'user' | 'password' | 'database', string>
>;
export type PoolConfig = DeepReadonly<z.output<typeof poolSchema>>;
export type SharingConfig = DeepReadonly<z.output<typeof sharingSchema>>;
export type RoutingConfig = DeepReadonly<z.output<typeof routingSchema>>;
export type AutoPrepareConfig = DeepReadonly<z.output<typeof autoPrepareSchema>>;
export type BalancePolicy = RoutingConfig['balance'];
export type ConsistencyConfig = DeepReadonly<z.output<typeof consistencySchema>>;
export type ConsistencyLevel = ConsistencyConfig['level'];
export type { RuleConfig } from './rules.js';
/** Its files are absolute paths. */
export type FailoverConfig = DeepReadonly<
  Filled<z.output<typeof failoverSchema>, 'auditFile' | 'stateFile', string | null>
>;
/** At least one of `password` and `verifier` is not null. */
export type UserConfig = DeepReadonly<
  Filled<
    Filled<z.output<typeof userSchema>, 'password' | 'verifier', string | null>,
    'maxServerConnections',
    number | null
  >
>;
export type Protocol = z.output<typeof clusterSchema>['protocol'];

export interface ClusterConfig {
  readonly name: string;
  readonly protocol: Protocol;
  readonly nodes: readonly NodeConfig[];
  readonly monitor: MonitorConfig;
  readonly pool: PoolConfig;
  readonly sharing: SharingConfig;
  readonly routing: RoutingConfig;
  readonly autoPrepare: AutoPrepareConfig;
  readonly consistency: ConsistencyConfig;
  readonly failover: FailoverConfig;
  readonly rules: readonly RuleConfig[];
  /** Null: nothing is shared with other proxies. */
  readonly redis: RedisConfig | null;
  /** Null: verifiers are read from the primary. */
  readonly users: readonly UserConfig[] | null;
}

export type RedisConfig = ResolvedRedis;

export type AdminConfig = DeepReadonly<Filled<z.output<typeof adminSchema>, 'token', string | null>>;
export type LogConfig = DeepReadonly<z.output<typeof logSchema>>;
export type LogLevel = LogConfig['level'];
export type TelemetryConfig = DeepReadonly<z.output<typeof telemetrySchema>>;
export type LimitsConfig = DeepReadonly<z.output<typeof limitsSchema>>;

/** A whole configuration, checked, with secrets resolved and nothing left out. */
export interface Config {
  readonly listeners: readonly ListenerConfig[];
  readonly clusters: readonly ClusterConfig[];
  readonly admin: AdminConfig;
  readonly log: LogConfig;
  readonly telemetry: TelemetryConfig;
  readonly limits: LimitsConfig;
  readonly workers: number | 'auto';
  readonly busyPollUs: number | 'auto';
}

/** The JSON Schema that proxy.config.schema.json holds; a property that has a default is not required. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { target: 'draft-2020-12', io: 'input' });
}
