// Histories at the level of messages: what one client sends, in bursts that each end in a Sync or a Query, made from a seed.
// Nothing in it depends on time or on what other clients do, so that two equal databases must answer it alike.

import { serialize } from 'pg-protocol';

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }

  /** mulberry32 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  chance(p: number): boolean {
    return this.next() < p;
  }
}

/** One message, and how a person reads it. */
export interface Said {
  readonly kind: string;
  readonly shown: string;
  readonly bytes: Buffer;
}

/** Sent together, unless `pauses` says after which messages a moment passes. */
export interface Burst {
  readonly said: readonly Said[];
  readonly pauses: readonly number[];
}

interface Template {
  readonly sql: string;
  readonly values: (random: Random, client: number) => readonly (string | null)[];
}

const none = (): readonly string[] => [];
const small = (random: Random): readonly string[] => [String(random.below(6))];
const own = (_: Random, client: number): readonly string[] => [String(client)];
const ownKey = (random: Random, client: number): readonly string[] => [
  String(client),
  String(random.below(8)),
];
const ownKeyValue = (random: Random, client: number): readonly (string | null)[] => [
  ...ownKey(random, client),
  random.chance(0.1) ? null : String(random.below(100)),
];

/** A name may stand for another statement than its values are for: `c = $c` keeps them from rows that other clients change. */
const READS: readonly Template[] = [
  { sql: 'SELECT id, v FROM r WHERE id = $1', values: small },
  { sql: 'SELECT v FROM r WHERE id <= $1 ORDER BY id', values: small },
  { sql: 'SELECT $1::int + 1', values: small },
  { sql: 'SELECT 6 / $1::int', values: small },
  { sql: 'SELECT k, v FROM w WHERE c = $1 AND c = $c ORDER BY k', values: own },
  { sql: 'SELECT count(*), coalesce(sum(v), 0) FROM w WHERE c = $1 AND c = $c', values: own },
  { sql: 'SELECT v FROM w WHERE c = $1 AND k = $2', values: ownKey },
  { sql: 'VALUES (1), (2), (3)', values: none },
  { sql: 'SELECT * FROM moved ORDER BY 1', values: none },
  { sql: 'SELECT * FROM moved WHERE a = $1', values: small },
  { sql: "SELECT current_setting('work_mem')", values: none },
  { sql: 'SELECT * FROM own_$c ORDER BY 1', values: none },
  { sql: 'SELECT a FROM own_$c WHERE a = $1', values: small },
  { sql: 'SHOW work_mem', values: none },
  { sql: 'SHOW search_path', values: none },
  { sql: 'SHOW transaction_isolation', values: none },
  { sql: '', values: none },
];

const WRITES: readonly Template[] = [
  { sql: 'INSERT INTO w VALUES ($1, $2, $3)', values: ownKeyValue },
  {
    sql: 'INSERT INTO w VALUES ($1, $2, $3) ON CONFLICT (c, k) DO UPDATE SET v = excluded.v',
    values: ownKeyValue,
  },
  { sql: 'INSERT INTO w VALUES ($1, $2, $3) RETURNING k, v', values: ownKeyValue },
  { sql: 'UPDATE w SET v = v + 1 WHERE c = $1 AND k = $2', values: ownKey },
  { sql: 'DELETE FROM w WHERE c = $1 AND k = $2', values: ownKey },
];

const CONTROL: readonly Template[] = [
  'BEGIN',
  'BEGIN',
  'BEGIN',
  'START TRANSACTION READ WRITE',
  'BEGIN ISOLATION LEVEL REPEATABLE READ',
  'BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE',
  'BEGIN READ ONLY',
  'COMMIT',
  'COMMIT',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ROLLBACK',
  'SAVEPOINT a',
  'SAVEPOINT b',
  'ROLLBACK TO a',
  'ROLLBACK TO SAVEPOINT b',
  'RELEASE a',
  'COMMIT AND CHAIN',
  'ROLLBACK AND CHAIN',
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
].map((sql) => ({ sql, values: none }));

const SETTINGS: readonly Template[] = [
  "SET work_mem = '1MB'",
  "SET work_mem = '2MB'",
  "SET LOCAL work_mem = '3MB'",
  'RESET work_mem',
  'RESET ALL',
  'SET search_path TO one, public',
  'SET search_path TO two, public',
  'SET LOCAL search_path TO two, public',
  'RESET search_path',
  "SET application_name = 'other'",
  "SET DateStyle = 'German'",
  "SELECT set_config('work_mem', '4MB', false)",
  "SET work_mem = 'nothing'",
  'DISCARD ALL',
  'DEALLOCATE ALL',
  'DEALLOCATE s1',
  'DEALLOCATE "s2"',
  'DISCARD PLANS',
].map((sql) => ({ sql, values: none }));

const SCHEMA: readonly Template[] = [
  'CREATE TABLE own_$c (a int, b text)',
  'CREATE TABLE own_$c (a text)',
  'DROP TABLE IF EXISTS own_$c',
  'DROP TABLE own_$c',
  'ALTER TABLE own_$c ADD COLUMN d int',
  'ALTER TABLE own_$c ALTER COLUMN a TYPE text',
  'INSERT INTO own_$c (a) VALUES (1), (2)',
  'CREATE TEMP TABLE IF NOT EXISTS temporary (a int)',
  'SELECT count(*) FROM temporary',
].map((sql) => ({ sql, values: none }));

const BROKEN: readonly Template[] = [
  { sql: 'SELEC 1', values: none },
  { sql: 'SELECT nothing FROM r', values: none },
  { sql: 'SELECT * FROM nowhere WHERE a = $1', values: small },
  { sql: "SELECT 'x'::int", values: none },
  { sql: 'SELECT 1; SELECT 2', values: none },
];

const CURSORS: readonly Template[] = [
  'DECLARE c CURSOR FOR SELECT id FROM r ORDER BY id',
  'FETCH 2 FROM c',
  'CLOSE c',
  'CLOSE ALL',
  'COPY (SELECT id FROM r ORDER BY id) TO STDOUT',
  'PREPARE t1 AS SELECT 1',
  'EXECUTE t1',
  'DEALLOCATE t1',
].map((sql) => ({ sql, values: none }));

const STATEMENTS: readonly (readonly [weight: number, templates: readonly Template[]])[] = [
  [40, READS],
  [25, WRITES],
  [18, CONTROL],
  [7, SETTINGS],
  [5, SCHEMA],
  [4, BROKEN],
  [3, CURSORS],
];

function statement(random: Random): Template {
  let at = random.below(102);
  for (const [weight, templates] of STATEMENTS) {
    at -= weight;
    if (at < 0) return random.of(templates);
  }
  return READS[0]!;
}

/**
 * A named DEALLOCATE is about another statement on the server than on the client, and an isolation level refuses to be set
 * behind any Parse: what else is in the batch, and has to be parsed again on another server connection, would tell.
 */
function fit(template: Template, name: string): Template {
  if (template.sql.includes('ISOLATION')) return CONTROL[0]!;
  // What was never described has the types of where it runs.
  const isOnlyUnnamed = template.sql.startsWith('DEALLOCATE') || template.sql.includes('WHERE a = $1');
  return name !== '' && isOnlyUnnamed ? READS[0]! : template;
}

const said = (kind: string, shown: string, bytes: Buffer): Said => ({ kind, shown, bytes });
const NAMES = ['', '', '', '', 's1', 's2'];
const PORTALS = ['', '', '', '', 'p1'];
const SYNC = said('sync', 'Sync', serialize.sync());

/** One client's history; it remembers what its names should be, so that most of what it binds fits. */
export class Generator {
  readonly #random: Random;
  readonly #client: number;
  readonly #names = new Map<string, Template>();
  /** At most one COPY FROM a burst: what its Sync means could not be told from the answers. */
  #hasCopy = false;

  constructor(seed: number, client: number) {
    this.#random = new Random(seed);
    this.#client = client;
  }

  /** What the history starts from. */
  first(): Burst {
    const texts = [`DELETE FROM w WHERE c = ${this.#client}`, this.#text('DROP TABLE IF EXISTS own_$c')];
    return { said: texts.map((sql) => query(sql)), pauses: [] };
  }

  burst(): Burst {
    const random = this.#random;
    const messages: Said[] = [];
    this.#hasCopy = false;
    const units = random.chance(0.3) ? 1 + random.below(4) : 1;
    for (let i = 0; i < units; i++) {
      if (random.chance(0.35)) messages.push(...this.#simple());
      else messages.push(...this.#batch());
    }
    const pauses: number[] = [];
    if (random.chance(0.15)) pauses.push(random.below(messages.length));
    return { said: messages, pauses };
  }

  #text(sql: string): string {
    return sql.replaceAll('$c', String(this.#client));
  }

  /** With its values in place of the parameters. */
  #literal({ sql, values }: Template): string {
    const given = values(this.#random, this.#client);
    return this.#text(sql).replace(/\$(\d)/g, (_, n: string) => given[Number(n) - 1] ?? 'NULL');
  }

  #simple(): Said[] {
    const random = this.#random;
    const said1: Said[] = [];
    if (random.chance(0.05)) said1.push(this.#close());
    if (!this.#hasCopy && random.chance(0.05)) return [...said1, ...this.#copyIn()];
    const count = random.chance(0.2) ? 2 + random.below(3) : 1;
    const texts: string[] = [];
    for (let i = 0; i < count; i++) {
      const one = statement(random);
      // Beside others a DEALLOCATE finds no statement of the protocol's; a READ ONLY transaction leaves its replica.
      const isForOne = /^DEALLOCATE|CHAIN$/.test(one.sql);
      texts.push(this.#literal(count > 1 && isForOne ? READS[0]! : one));
    }
    said1.push(query(texts.join('; ')));
    return said1;
  }

  #copyIn(): Said[] {
    const random = this.#random;
    this.#hasCopy = true;
    const messages = [query('COPY w FROM STDIN')];
    for (let i = random.below(4); i >= 0; i--) messages.push(this.#copyData());
    messages.push(
      random.chance(0.2)
        ? said('copyFail', 'CopyFail', serialize.copyFail('enough'))
        : said('copyDone', 'CopyDone', serialize.copyDone()),
    );
    return messages;
  }

  #copyData(): Said {
    const random = this.#random;
    const line = random.chance(0.1)
      ? 'nonsense\n'
      : `${this.#client}\t${random.below(8)}\t${random.below(100)}\n`;
    return said('copyData', `CopyData ${JSON.stringify(line)}`, serialize.copyData(Buffer.from(line)));
  }

  #batch(): Said[] {
    const random = this.#random;
    const messages: Said[] = [];
    for (let i = random.chance(0.4) ? 1 + random.below(4) : 0; i >= 0; i--) {
      if (random.chance(0.75)) messages.push(...this.#run());
      else messages.push(this.#any());
      if (random.chance(0.06)) messages.push(said('flush', 'Flush', serialize.flush()));
    }
    if (!this.#hasCopy && random.chance(0.03)) return [...messages, ...this.#extendedCopy()];
    messages.push(SYNC);
    return messages;
  }

  /** The Sync in the middle is ignored where the COPY has begun. */
  #extendedCopy(): Said[] {
    const random = this.#random;
    this.#hasCopy = true;
    const messages = [parse('', 'COPY w FROM STDIN'), bind('', '', []), execute('', 0)];
    if (random.chance(0.6)) messages.push({ ...SYNC, kind: 'copySync' });
    for (let i = random.below(3); i >= 0; i--) messages.push(this.#copyData());
    messages.push(said('copyDone', 'CopyDone', serialize.copyDone()), SYNC);
    return messages;
  }

  /** As drivers do it. */
  #run(): Said[] {
    const random = this.#random;
    const name = random.of(NAMES);
    const portal = random.of(PORTALS);
    const messages: Said[] = [];
    let template = this.#names.get(name);
    if (template === undefined || name === '' || random.chance(0.1)) {
      template = fit(statement(random), name);
      if (name !== '' && random.chance(0.5)) messages.push(close('S', name));
      messages.push(this.#parse(name, template));
      if (random.chance(0.3)) messages.push(describe('S', name));
      if (random.chance(0.1)) messages.push(SYNC);
    }
    const count = random.chance(0.1) && !template.sql.startsWith('DEALLOCATE') ? 2 : 1;
    for (let i = 0; i < count; i++) {
      messages.push(bind(portal, name, template.values(random, this.#client)));
      if (random.chance(0.6)) messages.push(describe('P', portal));
      messages.push(execute(portal, random.chance(0.2) ? 1 + random.below(3) : 0));
      if (random.chance(0.1)) messages.push(execute(portal, random.below(2)));
    }
    return messages;
  }

  #parse(name: string, template: Template): Said {
    this.#names.set(name, template);
    return parse(name, this.#text(template.sql));
  }

  #close(): Said {
    return this.#random.chance(0.5)
      ? close('S', this.#random.of(NAMES))
      : close('P', this.#random.of(PORTALS));
  }

  #any(): Said {
    const random = this.#random;
    const name = random.of(NAMES);
    switch (random.below(6)) {
      case 0:
        return this.#parse(name, fit(statement(random), name));
      case 1:
        return bind(
          random.of(PORTALS),
          name,
          random.chance(0.8)
            ? (this.#names.get(name)?.values(random, this.#client) ?? [])
            : ['1', '2', '3', '4'],
        );
      case 2:
        return describe('S', name);
      case 3:
        return describe('P', random.of(PORTALS));
      case 4:
        return execute(random.of(PORTALS), random.below(3));
      default:
        return this.#close();
    }
  }
}

const query = (sql: string): Said => said('query', `Query ${JSON.stringify(sql)}`, serialize.query(sql));
const parse = (name: string, text: string): Said =>
  said('parse', `Parse ${name}=${JSON.stringify(text)}`, serialize.parse({ name, text }));
const bind = (portal: string, statement: string, values: readonly (string | null)[]): Said =>
  said(
    'bind',
    `Bind ${portal}<-${statement} ${JSON.stringify(values)}`,
    serialize.bind({ portal, statement, values: [...values] }),
  );
const describe = (type: 'S' | 'P', name: string): Said =>
  said('describe', `Describe ${type} ${name}`, serialize.describe({ type, name }));
const close = (type: 'S' | 'P', name: string): Said =>
  said('close', `Close ${type} ${name}`, serialize.close({ type, name }));
const execute = (portal: string, rows: number): Said =>
  said('execute', `Execute ${portal} ${rows}`, serialize.execute({ portal, rows }));
