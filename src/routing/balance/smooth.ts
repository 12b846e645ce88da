// Round-robin and weighted: shares that do not look at what nodes have under way.
// Smooth weighted round-robin, as nginx does it: the shares are exact over a cycle and evenly mixed within it.

import type { BalanceNode, Policy } from './policy.js';

const ROUNDING = 1e-9;

export class Smooth implements Policy {
  readonly followsLoad = false;
  readonly #weightOf: (node: BalanceNode) => number;
  readonly #credit = new Map<string, number>();

  /** Every weight is above 0. */
  constructor(weightOf: (node: BalanceNode) => number) {
    this.#weightOf = weightOf;
  }

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    // A session that is kept where it is must not take somebody else's turn.
    if (nodes.length === 1) return nodes[0]!;
    const best = this.peek(nodes);
    const total = this.#totalOf(nodes);
    // In parts of a choice, so that a choice among few is worth as much as one among many.
    for (const node of nodes)
      this.#credit.set(node.name, this.#creditOf(node) + this.#weightOf(node) / total);
    this.#credit.set(best.name, this.#creditOf(best) - 1);
    return best;
  }

  peek<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    const total = this.#totalOf(nodes);
    let best = nodes[0]!;
    let most = Number.NEGATIVE_INFINITY;
    for (const node of nodes) {
      const credit = this.#creditOf(node) + this.#weightOf(node) / total;
      // What rounding makes of equal credits is no difference.
      if (credit <= most + ROUNDING) continue;
      most = credit;
      best = node;
    }
    return best;
  }

  narrow<Node extends BalanceNode>(nodes: readonly Node[]): readonly Node[] {
    return nodes;
  }

  mostInTurn(): number {
    return Number.POSITIVE_INFINITY;
  }

  #totalOf(nodes: readonly BalanceNode[]): number {
    let total = 0;
    for (const node of nodes) total += this.#weightOf(node);
    return total;
  }

  #creditOf({ name }: BalanceNode): number {
    return this.#credit.get(name) ?? 0;
  }
}
