// How the reads of one cluster are spread, at run time: the policy that is configured, with what it goes by.
// It knows no session; what nodes have under way comes in as a function.

import type { ClusterConfig } from '../config/schema.js';
import { currentTurn } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import { type Balancer, ByTurns, createBalancer, Latencies } from '../routing/balance.js';

/**
 * A kind of statement that usually takes longer says more about itself than about the node; one that usually takes less,
 * and has taken long, says something about the node.
 */
const SHORT_MS = 100;

export class Balancing {
  readonly #outstanding: (node: string) => number;
  readonly #latencies: Latencies;
  #oneByOne: Balancer;
  #byTurns: Balancer;
  #measures: boolean;

  constructor(routing: ClusterConfig['routing'], outstanding: (node: string) => number) {
    this.#outstanding = outstanding;
    this.#latencies = new Latencies(routing.latencyDecayMs);
    const { oneByOne, byTurns } = this.#create(routing);
    this.#oneByOne = oneByOne;
    this.#byTurns = byTurns;
    this.#measures = routing.balance === 'peak-ewma';
  }

  configure(routing: ClusterConfig['routing']): void {
    this.#latencies.decayMs = routing.latencyDecayMs;
    const { oneByOne, byTurns } = this.#create(routing);
    this.#oneByOne = oneByOne;
    this.#byTurns = byTurns;
    this.#measures = routing.balance === 'peak-ewma';
  }

  #create(routing: ClusterConfig['routing']): { oneByOne: Balancer; byTurns: Balancer } {
    const oneByOne = createBalancer(routing.balance, this.#outstanding, {
      locality: routing.locality ?? null,
      slowStartMs: routing.slowStartMs,
      nowMs: monotonicMs,
      latencies: this.#latencies,
    });
    return { oneByOne, byTurns: new ByTurns(oneByOne, currentTurn) };
  }

  /** `together`: what is chosen in this turn of the event loop goes to one node, in one write. */
  balancer(together: boolean): Balancer {
    return together ? this.#byTurns : this.#oneByOne;
  }

  /** A read was at the head of its server connection for so long; `usualMs`: what its kind takes, null: not known. */
  note(node: string, serviceMs: number, usualMs: number | null): void {
    if (!this.#measures || usualMs === null || usualMs > SHORT_MS) return;
    this.#latencies.note(node, serviceMs, monotonicMs());
  }

  /** What is known of its latency is no longer true. */
  wasAway(node: string): void {
    this.#latencies.forget(node);
  }
}
