// Nodes that serve units one after the other, clients that come at random, and a clock that is only a number: what balancing
// policies are tried on. Deterministic: the same seed gives the same run.

import type { Balancer } from '../../src/routing/balance.js';

/** mulberry32: 32 bits of state are enough for a simulation. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface SimulatedNode {
  readonly name: string;
  readonly weight: number;
  readonly tags?: Readonly<Record<string, string>>;
  readonly backSinceMs?: number;
  /** What a unit takes that begins then. */
  readonly serviceMs: (nowMs: number) => number;
}

export interface Simulated {
  /** Units by node. */
  readonly served: ReadonlyMap<string, number>;
  /** From arrival to answer: all of them, in order of the answers. */
  readonly waitsMs: readonly number[];
  readonly meanMs: number;
}

interface Pending {
  readonly node: SimulatedNode;
  readonly arrivedMs: number;
  readonly startedMs: number;
  readonly endsMs: number;
}

export class Simulation {
  nowMs = 0;
  /** Rises with each arrival that is a turn of its own. */
  turn = 0;
  readonly #nodes: readonly SimulatedNode[];
  readonly #random: () => number;
  readonly #onAnswer: (node: string, serviceMs: number) => void;
  #pending: Pending[] = [];

  constructor(
    nodes: readonly SimulatedNode[],
    seed: number,
    onAnswer: (node: string, serviceMs: number) => void = () => {},
  ) {
    this.#nodes = nodes;
    this.#random = randomFrom(seed);
    this.#onAnswer = onAnswer;
  }

  outstanding = (name: string): number => this.#pending.filter(({ node }) => node.name === name).length;

  /** `perTurn` units together, with random pauses of `pauseMs` on the average, for so long. */
  run(balancer: Balancer, forMs: number, pauseMs: number, perTurn = 1): Simulated {
    const served = new Map(this.#nodes.map(({ name }) => [name, 0]));
    const waitsMs: number[] = [];
    const untilMs = this.nowMs + forMs;
    for (;;) {
      this.nowMs += -Math.log(1 - this.#random()) * pauseMs;
      if (this.nowMs >= untilMs) break;
      this.#answer(this.nowMs, waitsMs);
      this.turn++;
      for (let i = 0; i < perTurn; i++) {
        const node = balancer.choose(this.#nodes);
        served.set(node.name, served.get(node.name)! + 1);
        const ends = this.#pending.filter((other) => other.node === node).map(({ endsMs }) => endsMs);
        const startedMs = Math.max(this.nowMs, ...ends);
        const endsMs = startedMs + node.serviceMs(startedMs);
        this.#pending.push({ node, arrivedMs: this.nowMs, startedMs, endsMs });
      }
    }
    const meanMs = waitsMs.reduce((sum, ms) => sum + ms, 0) / waitsMs.length;
    return { served, waitsMs, meanMs };
  }

  #answer(untilMs: number, waitsMs: number[]): void {
    const answered = this.#pending
      .filter(({ endsMs }) => endsMs <= untilMs)
      .sort((a, b) => a.endsMs - b.endsMs);
    this.#pending = this.#pending.filter(({ endsMs }) => endsMs > untilMs);
    for (const { node, arrivedMs, startedMs, endsMs } of answered) {
      // The listener's clock is the time of the answer.
      this.nowMs = endsMs;
      waitsMs.push(endsMs - arrivedMs);
      this.#onAnswer(node.name, endsMs - startedMs);
    }
    this.nowMs = untilMs;
  }
}

/** Each node's part of what was served. */
export function shares({ served }: Simulated): Record<string, number> {
  const total = [...served.values()].reduce((sum, count) => sum + count, 0);
  return Object.fromEntries([...served].map(([name, count]) => [name, count / total]));
}
