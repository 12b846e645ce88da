// A real cluster with the proxy in front of it, and a client of our own that can say what no driver says.
// For the tests of the MySQL data path only.

import net from 'node:net';
import mysql from 'mysql2/promise';
import pino from 'pino';
import { configFrom } from '../../src/config/resolve.js';
import type { ConfigInput } from '../../src/config/schema.js';
import { ServerLogin } from '../../src/mysql/auth/server-login.js';
import { PacketReader } from '../../src/mysql/wire/bytes.js';
import type { Capabilities } from '../../src/mysql/wire/capabilities.js';
import { CAPABILITY, hasCapability } from '../../src/mysql/wire/capabilities.js';
import { buildQuery } from '../../src/mysql/wire/command.js';
import { PacketFramer, payloadOf, sequenceAfter } from '../../src/mysql/wire/framer.js';
import { EOF_BYTE, ERR_BYTE, OK_BYTE, okStatus, parseErr, STATUS } from '../../src/mysql/wire/ok.js';
import { startProxy } from '../../src/proxy/compose.js';
import type { RunningProxy } from '../../src/proxy/running-proxy.js';
import { startCluster, type TestCluster, type TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

export interface Fixture {
  readonly kind: 'mysql' | 'mariadb';
  readonly cluster: TestCluster;
  readonly proxy: RunningProxy;
  readonly port: number;
  connect(options?: mysql.ConnectionOptions): Promise<mysql.Connection>;
  raw(keyed?: number, port?: number): Promise<RawClient>;
  /** How many statements of a kind a node has run, by its own count. */
  count(node: TestNode, variable: string): Promise<number>;
  /** With other changes of the cluster's configuration than those that it was started with. */
  reload(changes: Partial<ConfigInput['clusters'][number]>): void;
  stop(): Promise<void>;
}

export async function startFixture(
  kind: 'mysql' | 'mariadb',
  replicas = 2,
  changes: Partial<ConfigInput['clusters'][number]> = {},
): Promise<Fixture> {
  const cluster = await startCluster(kind, { replicas });
  const { user } = cluster;
  const configWith = (changed: typeof changes) =>
    configFrom({
      listeners: [{ name: 'app', host: '127.0.0.1', port: 0, cluster: 'main' }],
      clusters: [
        {
          name: 'main',
          protocol: 'mysql',
          nodes: cluster.nodes.map(({ host, port }, i) => ({ name: `n${i}`, host, port })),
          // A node that stands still for a second gives its reads away; on a busy machine that is no news.
          monitor: { ...cluster.superuser, timeoutMs: 10_000 },
          ...changed,
        },
      ],
      limits: { maxUnitBytes: 64 * 1024 * 1024 },
    });
  const proxy = await startProxy({
    config: configWith(changes),
    configPath: null,
    log: pino({ level: process.env.LOG ?? 'silent' }),
  });
  const port = proxy.listeners[0]!.port;
  await until('the proxy to know all nodes', () => {
    const [status] = proxy.admin.status().clusters;
    return status!.primary !== null && status!.nodes.every((node) => node.takesReads || node.takesWrites);
  });
  const open: { destroy(): void }[] = [];
  return {
    kind,
    cluster,
    proxy,
    port,
    connect: async (options = {}) => {
      const connection = await mysql.createConnection({ host: '127.0.0.1', port, ...user, ...options });
      open.push(connection);
      return connection;
    },
    raw: async (keyed = CAPABILITY.DEPRECATE_EOF, to = port) => {
      const client = await RawClient.open(to, cluster.user, keyed);
      open.push(client);
      return client;
    },
    count: async (node, variable) => {
      const [row] = await node.admin(`SHOW GLOBAL STATUS LIKE '${variable}'`);
      return Number(row!.Value);
    },
    reload: (changed) => {
      const result = proxy.reload(configWith(changed));
      if (!result.ok) throw new Error(result.problems.join('; '));
    },
    stop: async () => {
      for (const each of open) each.destroy();
      await proxy.close();
      await cluster.stop();
    },
  };
}

export interface RawResult {
  /** Of one result: first columns of its rows in the text protocol, or "OK", "ERR 1064". */
  readonly results: (string | (string | null)[])[];
  readonly packets: Buffer[];
  readonly status: number;
}

/** Speaks the protocol packet by packet. */
export class RawClient {
  readonly capabilities: Capabilities;
  readonly #socket: net.Socket;
  readonly #framer = new PacketFramer(1 << 30);
  readonly #packets: Buffer[] = [];
  #ended = false;
  #wake: () => void = () => {};

  private constructor(socket: net.Socket, capabilities: Capabilities) {
    this.#socket = socket;
    this.capabilities = capabilities;
  }

  static async open(
    port: number,
    user: { user: string; password: string; database: string },
    keyed: number,
  ): Promise<RawClient> {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    const login = new ServerLogin({
      node: 'test',
      user: user.user,
      credential: { kind: 'password', password: user.password },
      database: user.database,
      keyed: { flags: keyed, mariadb: 0x0c },
      collation: 45,
      attributes: new Map([['program_name', 'raw']]),
      maxPacketBytes: 1 << 30,
      secure: false,
    });
    const client = new RawClient(socket, { flags: 0, mariadb: 0 });
    socket.on('data', (chunk: Buffer) => client.#onData(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      client.#ended = true;
      client.#wake();
    });
    for (;;) {
      const frame = await client.packet();
      const step = login.receive(payloadOf(frame), frame[3]!);
      if (step.kind === 'send') socket.write(step.bytes);
      if (step.kind === 'done') {
        Object.assign(client, { capabilities: step.capabilities });
        return client;
      }
    }
  }

  #onData(chunk: Buffer): void {
    this.#framer.push(chunk);
    while (this.#framer.next() === 'ready') {
      const frame = this.#framer.take();
      if (frame !== null) this.#packets.push(Buffer.from(frame));
    }
    this.#wake();
  }

  /** The next packet, header included; rejects when the connection has ended. */
  async packet(): Promise<Buffer> {
    for (;;) {
      const packet = this.#packets.shift();
      if (packet !== undefined) return packet;
      if (this.#ended) throw new Error('the connection has ended');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  queryFrame(sql: string): Buffer {
    return buildQuery(sql, this.capabilities);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  query(sql: string): Promise<RawResult> {
    this.send(buildQuery(sql, this.capabilities));
    return this.results();
  }

  /** Everything up to the last result; checks that sequence ids have no gap. */
  async results(sequence = 1): Promise<RawResult> {
    const results: (string | (string | null)[])[] = [];
    const packets: Buffer[] = [];
    const deprecateEof = hasCapability(this.capabilities, CAPABILITY.DEPRECATE_EOF);
    let expected = sequence;
    const next = async (): Promise<Buffer> => {
      const frame = await this.packet();
      if (frame[3] !== expected) throw new Error(`packet ${frame[3]} instead of ${expected}`);
      expected = sequenceAfter(frame);
      packets.push(frame);
      return payloadOf(frame);
    };
    const err = (payload: Buffer): RawResult => {
      results.push(`ERR ${parseErr(payload).errno}`);
      return { results, packets, status: 0 };
    };
    for (;;) {
      const first = await next();
      if (first[0] === ERR_BYTE) return err(first);
      let status: number;
      if (first[0] === OK_BYTE) {
        results.push('OK');
        status = okStatus(first);
      } else {
        const columns = new PacketReader(first).lenenc();
        for (let i = 0; i < columns; i++) await next();
        if (!deprecateEof) await next();
        const rows: (string | null)[] = [];
        for (;;) {
          const row = await next();
          if (row[0] === ERR_BYTE) return err(row);
          if (row[0] === EOF_BYTE && row.length < 0xffffff) {
            status = deprecateEof ? okStatus(row) : row.readUInt16LE(3);
            break;
          }
          rows.push(row[0] === 0xfb ? null : new PacketReader(row).lenencText());
        }
        results.push(rows);
      }
      if ((status & STATUS.MORE_RESULTS) === 0) return { results, packets, status };
    }
  }
}
