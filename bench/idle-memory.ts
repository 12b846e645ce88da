// Measures how much memory a proxy needs for clients that do nothing: a fresh proxy, N clients that log in, run one
// query and stay; its resident memory before and after.

import { setTimeout as sleep } from 'node:timers/promises';
import mariadb from 'mariadb';
import pg from 'pg';
import type { TestCluster } from '../test/servers/cluster.js';
import { type Memory, memoryOf } from './cpu.js';
import { distinct } from './load.js';
import type { Options } from './options.js';
import type { SubjectName } from './scenarios.js';
import { median } from './statistics.js';
import { type Subject, startSubject, tooManyClients } from './subjects.js';
import { aligned } from './table.js';

/** Clients that log in at the same time. */
const AT_ONCE = 32;
/** What a burst leaves as garbage is given back once the clients are idle. */
const SETTLE_MS = 30_000;
const MIB = 1024 * 1024;

export interface IdleRow {
  readonly mode: 'idle';
  readonly clients: number;
  readonly subject: SubjectName;
  /** As every row has them; here no queries are measured. */
  readonly qps: null;
  readonly p50Ms: null;
  readonly p95Ms: null;
  readonly p99Ms: null;
  /** Medians over the rounds; null if any round failed. */
  readonly rssMiB: number | null;
  /** Pages that processes share counted once. */
  readonly pssMiB: number | null;
  readonly rssBeforeMiB: number | null;
  readonly kibPerClient: number | null;
  readonly failures: readonly string[];
}

interface Client {
  close(): void;
}

async function connectPostgres(cluster: TestCluster, { host, port }: Subject): Promise<Client> {
  const client = new pg.Client({ ...cluster.user, host, port, connectionTimeoutMillis: 120_000 });
  client.on('error', () => {});
  await client.connect();
  await client.query('SELECT 1');
  return { close: () => void client.end().catch(() => {}) };
}

async function connectMysql(cluster: TestCluster, { host, port }: Subject): Promise<Client> {
  // mysql2 keeps half a megabyte for each of them.
  const client = await mariadb.createConnection({
    ...cluster.user,
    ...{ host, port, connectTimeout: 120_000, allowPublicKeyRetrieval: true },
  });
  client.on('error', () => {});
  await client.query('SELECT 1');
  return { close: () => client.destroy() };
}

async function connectAll(cluster: TestCluster, subject: Subject, count: number): Promise<Client[]> {
  const connect = cluster.kind === 'postgres' ? connectPostgres : connectMysql;
  const clients: Client[] = [];
  const errors: string[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count && errors.length === 0) {
      next++;
      await connect(cluster, subject).then(
        (client) => clients.push(client),
        (error: unknown) => errors.push(error instanceof Error ? error.message : String(error)),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (errors.length > 0) {
    for (const client of clients) client.close();
    throw new Error(`${clients.length} of ${count} clients connected: ${distinct(errors).join('; ')}`);
  }
  return clients;
}

/** The most that is seen within a second. */
async function resident(subject: Subject): Promise<Memory> {
  let [rss, pss] = [0, 0];
  for (let i = 0; i < 5; i++) {
    const now = memoryOf(subject.pids);
    rss = Math.max(rss, now.rss);
    pss = Math.max(pss, now.pss);
    await sleep(200);
  }
  return { rss, pss };
}

interface Measured {
  readonly before: Memory;
  readonly after: Memory;
}

async function measure(
  options: Options,
  cluster: TestCluster,
  name: SubjectName,
  count: number,
): Promise<Measured> {
  const subject = await startSubject(name, cluster, {
    maxClients: count,
    workers: options.workers,
    profile: false,
  });
  try {
    // One client first, so that what is loaded at first use is not charged to the others.
    for (const client of await connectAll(cluster, subject, 1)) client.close();
    const before = await resident(subject);
    const clients = await connectAll(cluster, subject, count);
    await sleep(SETTLE_MS + options.seconds * 1_000);
    const after = await resident(subject);
    for (const client of clients) client.close();
    return { before, after };
  } finally {
    await subject.stop();
  }
}

export async function idleMemory(
  options: Options,
  cluster: TestCluster,
  subjects: readonly SubjectName[],
  say: (line: string) => void,
): Promise<IdleRow[]> {
  const cells = options.clients.flatMap((clients) =>
    subjects
      .filter((subject) => tooManyClients(subject, clients) === null)
      .map((subject) => ({ clients, subject, runs: [] as Measured[], failures: [] as string[] })),
  );
  for (let round = 1; round <= options.rounds; round++) {
    for (const { clients, subject, runs, failures } of cells) {
      try {
        const run = await measure(options, cluster, subject, clients);
        runs.push(run);
        say(`round ${round}: ${clients} idle clients, ${subject}: ${(run.after.rss / MIB).toFixed(1)} MiB`);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        failures.push(`round ${round}: ${reason}`);
        say(`round ${round}: ${clients} idle clients, ${subject}: FAILED: ${reason}`);
      }
    }
  }
  return cells.map(({ clients, subject, runs, failures }) => {
    const middle = (pick: (run: Measured) => number, unit: number) =>
      failures.length > 0 || runs.length === 0 ? null : Number((median(runs.map(pick)) / unit).toFixed(1));
    return {
      ...{ mode: 'idle', clients, subject, qps: null, p50Ms: null, p95Ms: null, p99Ms: null },
      rssMiB: middle((run) => run.after.rss, MIB),
      pssMiB: middle((run) => run.after.pss, MIB),
      rssBeforeMiB: middle((run) => run.before.rss, MIB),
      kibPerClient: middle((run) => (run.after.rss - run.before.rss) / clients, 1024),
      failures,
    };
  });
}

export function idleTable(rows: readonly IdleRow[]): string[] {
  const text = (value: number | null) => (value === null ? 'FAILED' : value.toFixed(1));
  return aligned([
    ['clients', 'subject', 'RSS MiB', 'PSS MiB', 'before MiB', 'KiB a client'],
    ...rows.map((row) => [
      ...[String(row.clients), row.subject],
      ...[text(row.rssMiB), text(row.pssMiB), text(row.rssBeforeMiB), text(row.kibPerClient)],
    ]),
  ]);
}
