// A result of some hundred megabytes to a client that stops reading, again and again: the proxy, in a process of its own, must not
// keep it in memory, whoever asked for it in whatever form, and others are served meanwhile.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { Kind } from '../servers/available.js';
import { startCluster, type TestCluster } from '../servers/cluster.js';
import { type StormProxy, startStormProxy } from '../storm/proxy.js';
import { type Client, driverOf } from './driver.js';

export const ROW_BYTES = 1000;
/** SCHEELITE_RESULT_MB: to try two gigabytes by hand. */
export const ROWS = Number(process.env.SCHEELITE_RESULT_MB ?? 300) * 1000;
/** Beside buffers this has what V8 takes for a wider young generation. */
const MOST_GROWTH_BYTES = 96 * 1024 * 1024;
/** The client stops after so much, until the others have asked this often. */
const STOP_EVERY_BYTES = 50_000_000;
const QUESTIONS_MEANWHILE = 50;
const DEADLINE_MS = 180_000;

export interface LargeResults {
  readonly kind: Kind;
  prepare?(cluster: TestCluster): Promise<void>;
  /** Logs in and asks; nothing of the result may have been read. */
  ask: Readonly<Record<string, (t: TestContext, proxy: StormProxy, cluster: TestCluster) => Promise<Socket>>>;
  /** Whether these last bytes of what has come so far are the end of the result. */
  isEnd(tail: Buffer): boolean;
}

function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line![1]) * 1024;
}

async function askOften(client: Client): Promise<void> {
  for (let i = 0; i < QUESTIONS_MEANWHILE; i++) await client.query('SELECT 1 AS one');
}

export async function largeResults(
  t: TestContext,
  { kind, prepare, ask, isEnd }: LargeResults,
): Promise<void> {
  const cluster = await startCluster(kind, { replicas: 1 });
  t.after(() => cluster.stop());
  await prepare?.(cluster);
  await cluster.waitCaughtUp();
  for (const [form, start] of Object.entries(ask)) {
    await t.test(`${form}: memory stays bounded and others are served`, async (t) => {
      const proxy = await startStormProxy(cluster);
      t.after(() => proxy.stop());
      const other = await driverOf(kind).connect(proxy, cluster.user);
      t.after(() => other.kill());
      for (let i = 0; i < 10; i++) await askOften(other);
      const before = residentBytes(proxy.pid!);
      let most = before;
      const look = () => {
        most = Math.max(most, residentBytes(proxy.pid!));
      };
      const socket = await start(t, proxy, cluster);
      const bytes = await read(socket, isEnd, async () => {
        await askOften(other);
        look();
      });
      look();
      assert.ok(bytes >= ROWS * ROW_BYTES, `${bytes} bytes came`);
      t.diagnostic(`${Math.round((most - before) / 2 ** 20)} MiB more for ${Math.round(bytes / 1e6)} MB`);
      assert.ok(most - before < MOST_GROWTH_BYTES, `${most - before} bytes more than ${before}`);
      await other.query('SELECT 1 AS one');
      assert.deepEqual(proxy.complaints(), []);
    });
  }
}

/** Reads to the end of the result, with stops in between; the number of bytes. */
function read(
  socket: Socket,
  isEnd: (tail: Buffer) => boolean,
  stopped: () => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    let stopAt = 1;
    let tail: Buffer = Buffer.alloc(0);
    const deadline = setTimeout(() => reject(new Error(`only ${bytes} bytes came`)), DEADLINE_MS);
    const settle = (error: Error | null) => {
      clearTimeout(deadline);
      if (error === null) resolve(bytes);
      else reject(error);
    };
    socket.on('close', () => settle(new Error(`the connection ended after ${bytes} bytes`)));
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      tail = chunk.length >= 16 ? chunk.subarray(-16) : Buffer.concat([tail, chunk]).subarray(-16);
      if (bytes > ROWS * ROW_BYTES && isEnd(tail)) settle(null);
      else if (bytes >= stopAt) {
        stopAt = bytes + STOP_EVERY_BYTES;
        socket.pause();
        stopped().then(() => socket.resume(), settle);
      }
    });
    socket.resume();
  });
}
