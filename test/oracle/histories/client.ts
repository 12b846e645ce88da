// How a history's client talks to each kind of server; for PostgreSQL with names as short as drivers make them and with
// results in binary where values are bound. It knows no model.

import pg from 'pg';
import { type Account, type Address, type Client, driverOf, type Value } from '../../e2e/driver.js';
import type { Kind } from '../../servers/available.js';
import type { Row } from '../../servers/cluster.js';

class PostgresClient implements Client {
  readonly #client: pg.Client;
  readonly #names = new Map<string, string>();
  #broken: Error | null = null;

  constructor(client: pg.Client) {
    this.#client = client;
    client.on('error', (error) => {
      this.#broken ??= error;
    });
  }

  get broken(): Error | null {
    return this.#broken;
  }

  async query(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] =
      values.length === 0
        ? await this.#client.query<Row>(sql)
        : await this.#client.query<Row>({
            text: numbered(sql),
            values: [...values],
            binary: true,
          } as pg.QueryConfig);
    return (Array.isArray(result) ? (result as pg.QueryResult<Row>[]).at(-1)?.rows : result.rows) ?? [];
  }

  async execute(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    let name = this.#names.get(sql);
    if (name === undefined) {
      name = `s${this.#names.size}`;
      this.#names.set(sql, name);
    }
    const { rows } = await this.#client.query<Row>({ name, text: numbered(sql), values: [...values] });
    return rows;
  }

  async close(): Promise<void> {
    if (this.#broken === null) await this.#client.end();
  }

  kill(): void {
    void this.#client.end().catch(() => {});
  }
}

function numbered(sql: string): string {
  let n = 0;
  return sql.replaceAll('?', () => `$${++n}`);
}

export async function connect(kind: Kind, at: Address, account: Account): Promise<Client> {
  if (kind !== 'postgres') return driverOf(kind).connect(at, account);
  const { user, password, database } = account;
  const client = new pg.Client({ host: at.host, port: at.port, user, password, database });
  const wrapped = new PostgresClient(client);
  await client.connect();
  return wrapped;
}
