// Least-outstanding and peak-ewma: the node that costs least now, by what it has under way, and by how long it takes.
// Load, latency and time come in as functions; it knows no pool and no clock.

import type { Latencies } from './latency.js';
import type { BalanceNode, Policy } from './policy.js';
import { Smooth } from './smooth.js';

/** With anything under way, more than any node that is known: one unit at a time finds out how long it takes (Finagle's penalty). */
const UNKNOWN_COST = 1e12;
/** So long a unit may wait for those that are sent together with it. */
const TURN_MS = 2;

abstract class LeastCost implements Policy {
  readonly followsLoad = true;
  readonly #ties = new Smooth(() => 1);

  protected abstract costOf(node: BalanceNode): number;
  abstract mostInTurn(node: string): number;

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    return nodes.length === 1 ? nodes[0]! : this.#ties.choose(this.#cheapest(nodes));
  }

  peek<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    return this.#ties.peek(this.#cheapest(nodes));
  }

  narrow<Node extends BalanceNode>(nodes: readonly Node[]): readonly Node[] {
    return nodes;
  }

  #cheapest<Node extends BalanceNode>(nodes: readonly Node[]): readonly Node[] {
    let least = Number.POSITIVE_INFINITY;
    let best: Node[] = [];
    for (const node of nodes) {
      const cost = this.costOf(node);
      if (cost < least) {
        least = cost;
        best = [node];
      } else if (cost === least) {
        best.push(node);
      }
    }
    return best;
  }
}

/** Units under way or waiting, with the one that is to be sent, by weight. */
export class LeastOutstanding extends LeastCost {
  readonly #outstanding: (node: string) => number;

  constructor(outstanding: (node: string) => number) {
    super();
    this.#outstanding = outstanding;
  }

  protected override costOf({ name, weight }: BalanceNode): number {
    return (this.#outstanding(name) + 1) / Math.max(weight, 1);
  }

  override mostInTurn(): number {
    return Number.POSITIVE_INFINITY;
  }
}

/** The same, times what a unit takes there lately. */
export class PeakEwma extends LeastCost {
  readonly #outstanding: (node: string) => number;
  readonly #latencies: Latencies;
  readonly #nowMs: () => number;

  constructor(outstanding: (node: string) => number, latencies: Latencies, nowMs: () => number) {
    super();
    this.#outstanding = outstanding;
    this.#latencies = latencies;
    this.#nowMs = nowMs;
  }

  protected override costOf({ name, weight }: BalanceNode): number {
    const outstanding = this.#outstanding(name);
    const ms = this.#latencies.of(name, this.#nowMs());
    if (ms === null) return outstanding === 0 ? 0 : UNKNOWN_COST + outstanding;
    return (ms * (outstanding + 1)) / Math.max(weight, 1);
  }

  override mostInTurn(node: string): number {
    const ms = this.#latencies.of(node, this.#nowMs());
    return ms === null ? 1 : Math.max(1, Math.floor(TURN_MS / ms));
  }
}
