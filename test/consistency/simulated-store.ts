// A replicated store in a few lines, and sessions on it, as a history with the truth beside it: one log of commits, replicas that
// show a prefix of it, a primary that dies and loses the end of it. It is what the checker is checked with.

import { Random } from '../storm/random.js';
import type { Entry, History, Level, Operation, Step } from './history.js';

export interface SimulationOptions {
  readonly seed: number;
  readonly level: Level;
  readonly operations: number;
  readonly sessions: number;
  /** Connections of one session, whose operations may overlap. */
  readonly lanes: number;
  readonly keys: number;
  readonly failovers: number;
  /** How often a read goes anywhere, whatever its session is owed. */
  readonly broken: number;
}

export interface Truth {
  readonly history: History;
  /** Operations, in the order of their ends, that read from a node which did not have what they were owed. */
  readonly stale: ReadonlySet<number>;
  /** Those of them that showed less of a key than their own session had seen of it. */
  readonly plain: ReadonlySet<number>;
}

interface Commit {
  readonly at: number;
  readonly writes: readonly { readonly key: number; readonly value: string }[];
}

interface Lane {
  readonly session: number;
  start: number;
  execution: number;
}

interface Ended {
  readonly end: number;
  readonly position: number;
  readonly seen: ReadonlyMap<number, number>;
}

interface Node {
  delay: number;
  pausedUntil: number;
  applied: number;
}

type Told = Operation & { readonly stale: boolean; readonly plain: boolean };

export function simulate(options: SimulationOptions): Truth {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  #log: Commit[] = [];
  /** By key: values in the order of their commits, with the place in the log. */
  #contents: { value: string; place: number }[][];
  readonly #nodes: Node[];
  readonly #ended: Ended[][];
  readonly #late: { at: number; steps: readonly Step[] }[] = [];
  readonly #told: Told[] = [];
  readonly #failovers: Entry[] = [];
  #away = Number.NEGATIVE_INFINITY;
  #value = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#contents = Array.from({ length: options.keys }, () => []);
    this.#nodes = Array.from({ length: 3 }, () => ({ delay: 1, pausedUntil: 0, applied: 0 }));
    this.#ended = Array.from({ length: options.sessions }, () => []);
  }

  run(): Truth {
    const { operations, sessions, lanes, failovers, level } = this.#options;
    const random = this.#random;
    const all: Lane[] = [];
    for (let session = 0; session < sessions; session++)
      for (let i = 0; i < lanes; i++) all.push(this.#lane(session, random.next() * 5));
    const dies = new Set(Array.from({ length: failovers }, () => random.int(operations >> 3, operations)));
    for (let i = 0; i < operations; i++) {
      const lane = all.reduce((a, b) => (b.execution < a.execution ? b : a));
      this.#replicate(lane.execution);
      if (dies.has(i) && lane.execution > this.#away) this.#failOver(lane.execution);
      Object.assign(lane, this.#lane(lane.session, this.#execute(lane)));
    }
    const told = this.#told.sort((a, b) => a.at[1] - b.at[1]);
    const places = (which: 'stale' | 'plain') =>
      new Set(told.flatMap((each, op) => (each[which] ? [op] : [])));
    const entries = told.map(({ stale: _stale, plain: _plain, ...operation }): Entry => operation);
    return {
      history: { head: { history: 1, level }, entries: [...entries, ...this.#failovers] },
      stale: places('stale'),
      plain: places('plain'),
    };
  }

  #lane(session: number, from: number): Lane {
    const start = from + 0.001 + this.#random.next() * 2;
    return { session, start, execution: start + this.#random.next() * 3 };
  }

  #replicate(now: number): void {
    const random = this.#random;
    for (const node of this.#nodes) {
      if (random.chance(0.02)) node.delay = random.pick([0, 0.5, 2, 10, 60]);
      if (random.chance(0.01)) node.pausedUntil = now + random.next() * 40;
      if (now < node.pausedUntil) continue;
      while (node.applied < this.#log.length && this.#log[node.applied]!.at <= now - node.delay)
        node.applied++;
    }
    for (const late of this.#late.splice(0).sort((a, b) => a.at - b.at)) {
      if (late.at > now || now < this.#away) this.#late.push(late);
      else this.#commit(now, late.steps);
    }
  }

  #commit(at: number, steps: readonly Step[]): Map<string, number> {
    const depths = new Map<string, number>();
    const writes: { key: number; value: string }[] = [];
    for (const step of steps) {
      if (step[0] !== 'w') continue;
      const key = keyNumber(step[1]);
      writes.push({ key, value: step[2] });
      depths.set(step[2], this.#contents[key]!.push({ value: step[2], place: this.#log.length }));
    }
    this.#log.push({ at, writes });
    return depths;
  }

  #failOver(now: number): void {
    const random = this.#random;
    const applied = Math.max(...this.#nodes.map((node) => node.applied));
    const cut = random.int(applied, this.#log.length);
    this.#log = this.#log.slice(0, cut);
    this.#contents = this.#contents.map((list) => list.filter(({ place }) => place < cut));
    this.#away = now + random.next() * 10;
    this.#failovers.push({ failover: [now - random.next(), this.#away + 0.001 + random.next()] });
    for (const ended of this.#ended)
      ended.forEach((each, i) => {
        const seen = [...each.seen].map(
          ([key, depth]) => [key, Math.min(depth, this.#contents[key]!.length)] as const,
        );
        ended[i] = { ...each, position: Math.min(each.position, cut), seen: new Map(seen) };
      });
  }

  #owed({ session, start }: Lane): { position: number; seen: Map<number, number> } {
    const owed = { position: 0, seen: new Map<number, number>() };
    for (const { end, position, seen } of this.#ended[session]!) {
      if (end > start) continue;
      owed.position = Math.max(owed.position, position);
      for (const [key, depth] of seen) owed.seen.set(key, Math.max(depth, owed.seen.get(key) ?? 0));
    }
    return owed;
  }

  #execute(lane: Lane): number {
    const random = this.#random;
    return random.chance(0.35) ? this.#write(lane) : this.#read(lane);
  }

  #write(lane: Lane): number {
    const random = this.#random;
    const held = lane.execution < this.#away;
    const now = held ? this.#away : lane.execution;
    const end = now + random.next() * 3;
    const wanted: Step[] = Array.from({ length: random.chance(0.2) ? 2 : 1 }, () => [
      ...(['w', this.#key(), `v${this.#value++}`] as const),
    ]);
    const dice = random.next();
    if (dice < 0.04) {
      this.#tell(lane, end, wanted, 'failed');
      return end;
    }
    if (dice < 0.1 || (held && random.chance(0.5))) {
      const fate = random.next();
      if (fate < 0.3) this.#late.push({ at: end + random.next() * 20, steps: wanted });
      else if (fate < 0.6 && !held) this.#commit(now, wanted);
      this.#tell(lane, end, wanted, 'unknown');
      return end;
    }
    // A held write runs when there is a primary again; the log is in the order of commits all the same.
    const before = this.#log.length;
    const depths = this.#commit(lane.execution, wanted);
    const told = random.chance(0.5);
    const steps = wanted.map((step): Step => {
      const value = String(step[2]);
      return told ? ['w', step[1], value, depths.get(value)!] : step;
    });
    const seen = new Map(
      told ? wanted.map((step) => [keyNumber(step[1]), depths.get(String(step[2]))!]) : [],
    );
    this.#tell(lane, end, steps);
    this.#ended[lane.session]!.push({ end, position: before + 1, seen });
    return end;
  }

  #read(lane: Lane): number {
    const random = this.#random;
    const { level, broken } = this.#options;
    const end = lane.execution + random.next() * 3;
    const owed = this.#owed(lane);
    let position = owed.position;
    if (level === 'strong') {
      const known = this.#log.findLastIndex(({ at }) => at <= lane.start) + 1;
      position = Math.max(position, known);
    }
    const careless = random.chance(broken);
    const able = this.#nodes.filter(({ applied }) => careless || applied >= position);
    const primary = lane.execution >= this.#away;
    const node = able.length === 0 || (primary && random.chance(0.2)) ? null : random.pick(able);
    // Nobody has it: it waits, and is answered by nobody here.
    if (node === null && !primary) {
      this.#tell(lane, end, [], 'unknown');
      return end;
    }
    const state = node === null ? this.#log.length : node.applied;
    const seen = new Map<number, number>();
    const steps: Step[] = [];
    for (let i = random.chance(0.2) ? 2 : 1; i > 0; i--) {
      const name = this.#key();
      const key = keyNumber(name);
      const values = this.#contents[key]!.filter(({ place }) => place < state);
      if (name.startsWith('l')) steps.push(['l', name, values.map(({ value }) => value).join()]);
      else steps.push(['r', name, values.length, values.at(-1)?.value ?? null]);
      seen.set(key, values.length);
    }
    const plain = [...seen].some(([key, depth]) => depth < (owed.seen.get(key) ?? 0));
    this.#tell(lane, end, steps, undefined, state < position, plain);
    this.#ended[lane.session]!.push({ end, position: state, seen });
    return end;
  }

  #key(): string {
    const key = this.#random.int(0, this.#options.keys - 1);
    return key % 2 === 0 ? `r${key}` : `l${key}`;
  }

  #tell(
    lane: Lane,
    end: number,
    steps: readonly Step[],
    o?: 'failed' | 'unknown',
    stale = false,
    plain = false,
  ): void {
    const { session, start } = lane;
    const outcome = o === undefined ? {} : { o };
    this.#told.push({ s: `s${session}`, at: [start, end], do: steps, ...outcome, stale, plain });
  }
}

function keyNumber(name: string): number {
  return Number(name.slice(1));
}
