// What sessions do while they are watched: reads of registers and lists in every form that drivers have, writes, appends and
// transactions, of few keys so that they meet. It records everything and judges nothing.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, Driver, Value } from '../e2e/driver.js';
import type { Row } from '../servers/cluster.js';
import type { Random } from '../storm/random.js';
import type { Step } from './history.js';
import type { Connections, Lent } from './pool.js';
import type { Recorder } from './recorder.js';
import { type ListSlots, listStep, registerStep, type Statements } from './tables.js';

export interface WorkloadOptions {
  readonly driver: Driver;
  readonly recorder: Recorder;
  readonly random: Random;
  readonly connections: Connections;
  readonly statements: Statements;
  readonly registers: number;
  readonly slots: ListSlots;
  /** The session, of the connection that is used: under its own name, and as it begins each statement. */
  readonly name: (lent: Lent) => string;
  readonly prefix: string;
  /** Of all operations. */
  readonly writeShare: number;
  readonly nodeAt: (port: unknown) => string;
  readonly isOver: () => boolean;
  /** Called before each operation; resolves to false when there are enough. */
  readonly mayGoOn: () => boolean;
}

/** How a statement is sent. */
type Form = 'text' | 'values' | 'prepared';
const FORMS: readonly Form[] = ['text', 'values', 'prepared'];
/** Deadlocks and serialization failures: the server has rolled back, whatever else. */
const ROLLED_BACK = ['40P01', '40001', '1213'];
/** Sooner or later an application connects anew. */
const RECONNECTS = 0.0005;

let values = 0;

/** A read in a transaction, or the whole of it. */
interface Read {
  readonly step: Step;
  readonly port: unknown;
}

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #hot: number[] = [];

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  /** Until there is enough. */
  async live(): Promise<void> {
    const { connections, random, isOver, mayGoOn } = this.#options;
    while (!isOver()) {
      const lent = await connections.take();
      if (lent === null) return;
      if (!mayGoOn()) {
        connections.put(lent, false);
        return;
      }
      let broken = false;
      try {
        broken = await this.#operate(lent);
      } finally {
        connections.put(lent, broken || random.chance(RECONNECTS));
      }
      if (random.chance(0.05)) await sleep(random.int(0, 20));
    }
  }

  /** True: the connection is in a state that nobody knows. */
  #operate(lent: Lent): Promise<boolean> {
    const { random, writeShare } = this.#options;
    if (random.chance(writeShare)) {
      const dice = random.next();
      if (dice < 0.55) return this.#write(lent);
      if (dice < 0.8) return this.#append(lent);
      return this.#transaction(lent);
    }
    return random.chance(0.1) ? this.#readTransaction(lent) : this.#read(lent);
  }

  #register(): number {
    const { random, registers } = this.#options;
    // What the session itself has used lately tells the most about it.
    if (this.#hot.length > 0 && random.chance(0.5)) return random.pick(this.#hot);
    const id = random.int(1, registers);
    this.#hot.push(id);
    if (this.#hot.length > 6) this.#hot.shift();
    return id;
  }

  #list(): number {
    const { random, slots } = this.#options;
    return slots.id(random.int(0, slots.count - 1));
  }

  #value(): string {
    return `v${(++values).toString(36)}`;
  }

  #send(client: Client, form: Form, sql: string, given: readonly Value[]): Promise<Row[]> {
    const text = this.#options.prefix + sql;
    switch (form) {
      case 'text': {
        let n = 0;
        return client.query(text.replaceAll('?', () => literal(given[n++]!)));
      }
      case 'values':
        return client.query(text, given);
      case 'prepared':
        return client.execute(text, given);
    }
  }

  async #readOne(client: Client, form: Form): Promise<Read> {
    const { random, statements, slots } = this.#options;
    if (random.chance(0.75)) {
      const id = this.#register();
      const [row] = await this.#send(client, form, statements.readRegister, [id]);
      if (row === undefined) throw new Error(`register ${id} is not there`);
      return { step: registerStep(id, row), port: row.port };
    }
    const id = this.#list();
    const [row] = await this.#send(client, form, statements.readList, [id]);
    const step = listStep(id, row);
    slots.filled(id, step[2] === '' ? 0 : step[2].split(',').length);
    return { step, port: row?.port };
  }

  #on(port: unknown): { on?: string } {
    return port === undefined ? {} : { on: this.#options.nodeAt(port) };
  }

  #failed(what: string, error: unknown): string {
    const { driver, recorder } = this.#options;
    const code = driver.codeOf(error);
    recorder.failed(what, code === 'undefined' ? String((error as Error).message).slice(0, 60) : code);
    return code;
  }

  async #read({ client, ...rest }: Lent): Promise<boolean> {
    const { recorder, name, random } = this.#options;
    const start = recorder.now();
    try {
      const { step, port } = await this.#readOne(client, random.pick(FORMS));
      recorder.done(name({ client, ...rest }), start, [step], this.#on(port));
      return false;
    } catch (error) {
      this.#failed('read', error);
      return client.broken !== null;
    }
  }

  /** Of one statement that commits by itself; `steps` from what it answered. */
  async #change(
    lent: Lent,
    sql: string,
    given: readonly Value[],
    steps: (rows: readonly Row[]) => readonly Step[],
  ): Promise<boolean> {
    const { recorder, name, random } = this.#options;
    const start = recorder.now();
    try {
      const rows = await this.#send(lent.client, random.pick(FORMS), sql, given);
      recorder.done(name(lent), start, steps(rows));
      return false;
    } catch (error) {
      const code = this.#failed('write', error);
      const o = ROLLED_BACK.includes(code) ? 'failed' : 'unknown';
      recorder.done(name(lent), start, steps([]), { o });
      return lent.client.broken !== null;
    }
  }

  #write(lent: Lent): Promise<boolean> {
    const { statements, random } = this.#options;
    const id = this.#register();
    const value = this.#value();
    const telling = random.chance(0.5) ? statements.writeTelling : null;
    return this.#change(lent, telling ?? statements.write, [value, id], ([row]) => [
      row === undefined ? ['w', `r${id}`, value] : ['w', `r${id}`, value, Number(row.version)],
    ]);
  }

  #append(lent: Lent): Promise<boolean> {
    const id = this.#list();
    const value = this.#value();
    return this.#change(lent, this.#options.statements.append, [id, value], () => [['w', `l${id}`, value]]);
  }

  /** Reads, writes and reads again; some are rolled back. */
  async #transaction(lent: Lent): Promise<boolean> {
    const { client } = lent;
    const { recorder, name, random, statements, prefix } = this.#options;
    const steps: Step[] = [];
    const start = recorder.now();
    const form = random.pick(FORMS);
    let port: unknown;
    let committing = false;
    try {
      await client.query(`${prefix}BEGIN`);
      if (random.chance(0.5)) {
        const read = await this.#readOne(client, form);
        steps.push(read.step);
        port = read.port;
      }
      // In one order, so that they seldom lock each other out.
      for (const id of [this.#register(), this.#register()].sort((a, b) => a - b)) {
        const value = this.#value();
        await this.#send(client, form, statements.write, [value, id]);
        // Uncommitted: until it is acknowledged the database may forget it.
        steps.push(['w', `r${id}`, value]);
        if (random.chance(0.4)) {
          const [row] = await this.#send(client, form, statements.readRegister, [id]);
          steps.push(registerStep(id, row));
        }
      }
      if (random.chance(0.1)) {
        await client.query(`${prefix}ROLLBACK`);
        recorder.done(name(lent), start, steps, { o: 'failed', ...this.#on(port) });
        return false;
      }
      committing = true;
      await client.query(`${prefix}COMMIT`);
      recorder.done(name(lent), start, steps, this.#on(port));
      return false;
    } catch (error) {
      const code = this.#failed('transaction', error);
      // Without a COMMIT nothing of it can happen.
      const o = committing && !ROLLED_BACK.includes(code) ? 'unknown' : 'failed';
      recorder.done(name(lent), start, steps, { o, ...this.#on(port) });
      return true;
    }
  }

  async #readTransaction(lent: Lent): Promise<boolean> {
    const { client } = lent;
    const { recorder, name, random, statements, prefix } = this.#options;
    const steps: Step[] = [];
    const start = recorder.now();
    let port: unknown;
    try {
      await client.query(prefix + statements.beginReadOnly);
      for (let i = random.int(1, 3); i > 0; i--) {
        const read = await this.#readOne(client, random.pick(FORMS));
        steps.push(read.step);
        port = read.port ?? port;
      }
      await client.query(`${prefix}COMMIT`);
      recorder.done(name(lent), start, steps, this.#on(port));
      return false;
    } catch (error) {
      this.#failed('read transaction', error);
      return true;
    }
  }
}

function literal(value: Value): string {
  return typeof value === 'number' ? String(value) : `'${String(value)}'`;
}
