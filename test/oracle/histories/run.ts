// Histories of sessions through a real proxy before real servers: many at once, with few server connections between them. What
// went wrong is played again alone and cut down to what is needed; the replicas are asked whether they ever saw a write.

import { driverOf } from '../../e2e/driver.js';
import { startProxyFor } from '../../proxy/proxy-under-test.js';
import type { Kind } from '../../servers/available.js';
import { startCluster, type TestCluster, type TestNode } from '../../servers/cluster.js';
import { Random } from '../../storm/random.js';
import { connect } from './client.js';
import { play, type Theatre } from './play.js';
import { type Dialect, historyOf, type Step } from './steps.js';

export interface HistoriesReport {
  readonly server: string;
  readonly seed: number;
  histories: number;
  steps: number;
  /** Reads outside of transactions, and those that replicas answered. */
  freeReads: number;
  onReplicas: number;
  readonly violations: string[];
}

export interface HistoriesOptions {
  readonly kind: Kind;
  readonly version?: 15 | 18;
  readonly seed: number;
  /** Ends with whichever is reached later. */
  readonly histories: number;
  readonly seconds: number;
}

const CLIENTS = 10;
/** Fewer than clients: whoever waits gets what another has used. */
const SERVER_CONNECTIONS = 7;
/** Replays of a history that failed, to make it shorter. */
const MAX_REPLAYS = 60;
const MAX_VIOLATIONS = 5;

const TABLES = [
  'CREATE TABLE ledger (client int NOT NULL, seq int NOT NULL, port int NOT NULL, id bigint NOT NULL, PRIMARY KEY (client, seq))',
  'CREATE TABLE owner (client int PRIMARY KEY, port int)',
  'CREATE TABLE never (x int PRIMARY KEY)',
];
const FUNCTIONS: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [
    "CREATE FUNCTION node_port() RETURNS int STABLE LANGUAGE sql AS 'SELECT inet_server_port()'",
    "CREATE FUNCTION backend_id() RETURNS int STABLE LANGUAGE sql AS 'SELECT pg_backend_pid()'",
    `CREATE FUNCTION write_one(c int, s int) RETURNS int LANGUAGE sql AS
       'INSERT INTO ledger VALUES (c, s, node_port(), backend_id()) RETURNING seq'`,
  ],
  mysql: [
    'CREATE FUNCTION node_port() RETURNS INT NOT DETERMINISTIC NO SQL RETURN @@port',
    'CREATE FUNCTION backend_id() RETURNS BIGINT NOT DETERMINISTIC NO SQL RETURN CONNECTION_ID()',
    `CREATE FUNCTION write_one(c INT, s INT) RETURNS INT MODIFIES SQL DATA
       BEGIN INSERT INTO ledger VALUES (c, s, node_port(), backend_id()); RETURN s; END`,
  ],
};

export async function playHistories(options: HistoriesOptions): Promise<HistoriesReport> {
  const { kind, version, seed } = options;
  const dialect: Dialect = kind === 'postgres' ? 'postgres' : 'mysql';
  const until = performance.now() + options.seconds * 1000;
  const report: HistoriesReport = {
    server: version === undefined ? kind : `${kind} ${version}`,
    ...{ seed, histories: 0, steps: 0, freeReads: 0, onReplicas: 0, violations: [] },
  };
  const cluster = await startCluster(kind, {
    replicas: 2,
    ...(version === undefined ? {} : { version }),
    ...(kind === 'postgres' ? {} : { settings: { 'log-bin-trust-function-creators': 'ON' } }),
  });
  try {
    const { primary, user } = cluster;
    const driver = driverOf(kind);
    const owner = await driver.connect(primary, user);
    for (const table of TABLES) await owner.query(table);
    await owner.close();
    for (const statement of FUNCTIONS[dialect]) await primary.admin(statement);
    await cluster.waitCaughtUp();
    const [row] = await primary.admin(
      dialect === 'postgres'
        ? "SELECT current_setting('work_mem') AS value"
        : 'SELECT @@sort_buffer_size AS value',
    );
    const seen = writesSeen(cluster, dialect);
    const proxy = await startProxyFor(cluster, {
      routing: { readFunctions: ['node_port', 'backend_id'] },
      pool: { maxServerConnections: SERVER_CONNECTIONS, waitTimeoutMs: 55_000 },
    });
    try {
      // The harness has one connection to it.
      let before: Promise<unknown> = Promise.resolve();
      const lock = <T>(act: () => Promise<T>): Promise<T> => {
        const mine = before.then(act);
        before = mine.catch(() => {});
        return mine;
      };
      const theatre: Theatre = {
        dialect,
        driver,
        primaryPort: primary.port,
        standard: String(row?.value),
        connect: () => connect(kind, proxy, user),
        ledgerOf: (client) =>
          lock(() => primary.admin(`SELECT seq, port, id FROM ledger WHERE client = ${client}`)),
      };
      let started = 0;
      let client = 0;
      const next = async (steps: readonly Step[]) => {
        const id = ++client;
        await lock(() => primary.admin(`INSERT INTO owner VALUES (${id}, 0)`));
        return play(theatre, id, steps);
      };
      const one = async (): Promise<void> => {
        while (
          report.violations.length < MAX_VIOLATIONS &&
          (started < options.histories || performance.now() < until)
        ) {
          const number = started++;
          const steps = historyOf(new Random(seed * 100_003 + number), dialect, 40);
          const { wrong, story, model } = await next(steps);
          report.histories++;
          report.steps += story.length;
          report.freeReads += model.freeReads;
          report.onReplicas += model.onReplicas;
          if (wrong === null) continue;
          const told = [`history ${number} of seed ${seed}: ${wrong}`, ...story.map((line) => `    ${line}`)];
          report.violations.push([...told, ...(await shortened(steps, story.length, next))].join('\n'));
        }
      };
      await Promise.all(Array.from({ length: CLIENTS }, one));
    } finally {
      await proxy.stop();
    }
    report.violations.push(...routedWrites(cluster, dialect, seen));
  } finally {
    await cluster.stop();
  }
  return report;
}

/** Alone and without the steps that are not needed; empty where it does not fail alone. */
async function shortened(
  steps: readonly Step[],
  length: number,
  next: (steps: readonly Step[]) => Promise<{ wrong: string | null; story: readonly string[] }>,
): Promise<string[]> {
  let needed = steps.slice(0, length);
  let replays = 1;
  let best = await next(needed);
  if (best.wrong === null) return ['  played again alone it does not fail'];
  for (
    let size = Math.ceil(needed.length / 2);
    size >= 1 && replays < MAX_REPLAYS;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < needed.length && replays < MAX_REPLAYS; ) {
      const without = [...needed.slice(0, at), ...needed.slice(at + size)];
      const played = await next(without);
      replays++;
      if (played.wrong === null) at += size;
      else {
        needed = without;
        best = played;
      }
    }
  }
  return [
    `  alone, and no step more than it takes: ${best.wrong}`,
    ...best.story.map((line) => `    ${line}`),
  ];
}

/** PostgreSQL writes to its log what it refuses. MySQL tells the client alone; whom nothing is hidden from, if it wrote. */
function writesSeen(cluster: TestCluster, dialect: Dialect): Map<TestNode, string> {
  const seen = new Map<TestNode, string>();
  for (const node of dialect === 'postgres' ? cluster.replicas : []) {
    const lines = node.logTail(1_000_000).split('\n');
    const refused = lines.filter(
      (line, i) => /in a read-only transaction/.test(line) && !isMeant(lines.slice(i, i + 3)),
    );
    seen.set(node, refused.join('\n'));
  }
  return seen;
}

/** What the model sends to be refused: a write in a READ ONLY transaction, a lock there. */
function isMeant(lines: readonly string[]): boolean {
  return lines.some((line) => /STATEMENT:.*(?:UPDATE never|FOR UPDATE)/.test(line));
}

function routedWrites(
  cluster: TestCluster,
  dialect: Dialect,
  before: ReadonlyMap<TestNode, string>,
): string[] {
  const after = writesSeen(cluster, dialect);
  return [...after]
    .filter(([node, text]) => text !== before.get(node))
    .map(
      ([node, text]) =>
        `${node.name}, a replica, was sent writes:\n${text}\nbefore: ${before.get(node) ?? ''}`,
    );
}

export function lineOf({
  server,
  seed,
  histories,
  steps,
  freeReads,
  onReplicas,
  violations,
}: HistoriesReport): string {
  const share = ((100 * onReplicas) / Math.max(1, freeReads)).toFixed(0);
  return `${server}, seed ${seed}: ${histories} histories, ${steps} steps, ${freeReads} reads outside of transactions (${share} % on replicas), violations ${violations.length}`;
}
