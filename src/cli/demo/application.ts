// Plays the demo's application: its connections through the proxy, what they write and read, and the figures about it.
// It knows one address and no server behind it; which server answered is what the answer says.

import type { Socket } from 'node:net';
import pg from 'pg';
import { APPLICATION, NODE_SETTING } from './cluster.js';
import { expect } from './expect.js';

const TIMEOUT_MS = 60_000;
/** Errors of the proxy that say that a write may or may not have happened. */
const OUTCOME_UNKNOWN = '08007';

const CREATE = `CREATE TABLE ledger (entry int PRIMARY KEY, written_on text DEFAULT current_setting('${NODE_SETTING}'))`;
const WRITE = 'INSERT INTO ledger (entry) VALUES ($1) RETURNING written_on AS node';
const READ = `SELECT current_setting('${NODE_SETTING}') AS node, coalesce(max(entry), 0) AS newest FROM ledger`;
/** How a server counts that read by itself, whatever it has made of the literals. */
export const READS_RUN = `SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
  WHERE query LIKE '%AS node, coalesce(max(entry)%' AND query NOT LIKE '%pg_stat_statements%'`;

export interface Answer {
  /** The server that gave it, by its own word. */
  readonly node: string;
}

export interface ReadAnswer extends Answer {
  /** The highest entry that it could see. */
  readonly newest: number;
}

export class Application {
  readonly #address: { readonly host: string; readonly port: number };
  readonly #connections = new Set<Connection>();
  /** Entries whose write was acknowledged. */
  readonly acknowledged: number[] = [];
  readonly readsByNode: Record<string, number> = {};
  /** Reads that did not see what their session had written or seen before. */
  staleReads = 0;
  /** Connections that ended although nobody closed them; each would have been one reconnect. */
  connectionsLost = 0;
  /** Writes of which the proxy had to say that their outcome is not known. */
  unknownOutcomes = 0;
  connectionsOpened = 0;
  #lastEntry = 0;

  constructor(address: { readonly host: string; readonly port: number }, nodes: readonly string[]) {
    this.#address = address;
    for (const node of nodes) this.readsByNode[node] = 0;
  }

  get reads(): number {
    return Object.values(this.readsByNode).reduce((sum, count) => sum + count, 0);
  }

  get lastEntry(): number {
    return this.#lastEntry;
  }

  nextEntry(): number {
    return ++this.#lastEntry;
  }

  async connect(): Promise<Connection> {
    const connection = new Connection(this, {
      ...this.#address,
      ...APPLICATION,
      application_name: 'demo',
      connectionTimeoutMillis: TIMEOUT_MS,
      query_timeout: TIMEOUT_MS,
    });
    this.#connections.add(connection);
    await connection.open();
    this.connectionsOpened++;
    return connection;
  }

  async connectMany(count: number): Promise<Connection[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect()));
  }

  /** It has been closed in good order. */
  closed(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** At once, without a farewell: the tour is over or was interrupted. */
  drop(): void {
    for (const connection of this.#connections) connection.drop();
  }
}

export class Connection {
  readonly #application: Application;
  readonly #client: pg.Client;
  #closing = false;
  #socket: Socket | undefined;
  /** What the session has written or seen. */
  #seen = 0;

  constructor(application: Application, config: pg.ClientConfig) {
    this.#application = application;
    this.#client = new pg.Client(config);
    const onLost = () => {
      if (this.#closing) return;
      this.#closing = true;
      this.#application.connectionsLost++;
    };
    this.#client.on('error', onLost);
    this.#client.on('end', onLost);
  }

  async open(): Promise<void> {
    await this.#client.connect();
    this.#socket = (this.#client as pg.Client & { connection: { stream: Socket } }).connection.stream;
  }

  /** Our end of the TCP connection; another number would be another connection. */
  get localPort(): number | null {
    return this.#socket?.localPort ?? null;
  }

  async createLedger(): Promise<void> {
    await this.#client.query(CREATE);
  }

  /** Appends an entry. Told that the outcome is unknown, it looks, and writes it only if it is not there. */
  async write(): Promise<Answer & { readonly entry: number }> {
    const entry = this.#application.nextEntry();
    for (;;) {
      const node = (await this.#tryWrite(entry)) ?? (await this.#find(entry));
      if (node === null) continue;
      this.#application.acknowledged.push(entry);
      this.#seen = Math.max(this.#seen, entry);
      return { entry, node };
    }
  }

  async #tryWrite(entry: number): Promise<string | null> {
    try {
      const { rows } = await this.#client.query<Answer>(WRITE, [entry]);
      expect(rows.length === 1, 'one row from INSERT ... RETURNING', rows);
      return rows[0]!.node;
    } catch (error) {
      if ((error as { code?: string }).code !== OUTCOME_UNKNOWN) throw error;
      this.#application.unknownOutcomes++;
      return null;
    }
  }

  async #find(entry: number): Promise<string | null> {
    const { rows } = await this.#client.query<Answer>(
      'SELECT written_on AS node FROM ledger WHERE entry = $1',
      [entry],
    );
    return rows[0]?.node ?? null;
  }

  async read(): Promise<ReadAnswer> {
    const { rows } = await this.#client.query<ReadAnswer>(READ);
    const answer = rows[0]!;
    const { readsByNode } = this.#application;
    readsByNode[answer.node] = (readsByNode[answer.node] ?? 0) + 1;
    if (answer.newest < this.#seen) this.#application.staleReads++;
    this.#seen = Math.max(this.#seen, answer.newest);
    return answer;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#client.end();
    this.#application.closed(this);
  }

  drop(): void {
    this.#closing = true;
    this.#socket?.destroy();
  }
}
