// One node for all that is chosen within one turn of the event loop, so that it can be sent there together; the shares are
// the policy's all the same. It knows the turn by its number only.

import type { BalanceNode, Balancer, Policy } from './policy.js';

/** Beyond this a turn is long enough to be worth another node's work. */
const MAX_IN_TURN = 32;
const MAX_OWED = 64;

/**
 * A policy that looks at load sees for itself what was sent where. What any other would have chosen meanwhile is owed to those
 * nodes, so that over many turns the shares are the policy's.
 */
export class ByTurns implements Balancer {
  readonly #policy: Policy;
  readonly #currentTurn: () => number;
  #turn = -1;
  #chosen = '';
  #left = 0;
  /** Units that a node would have had, and has not. */
  readonly #owed = new Map<string, number>();

  constructor(policy: Policy, currentTurn: () => number) {
    this.#policy = policy;
    this.#currentTurn = currentTurn;
  }

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    const among = this.#policy.narrow(nodes);
    // One who has no choice does not choose for the others.
    if (among.length === 1) return among[0]!;
    const before = this.#chosenInTurn(among);
    const fair = this.#policy.followsLoad && before !== undefined ? before : this.#policy.choose(among);
    const node = before ?? this.#mostOwed(among, fair);
    if (before === undefined) {
      this.#turn = this.#currentTurn();
      this.#chosen = node.name;
      this.#left = Math.min(MAX_IN_TURN, this.#policy.mostInTurn(node.name));
    }
    this.#left--;
    if (node !== fair) {
      this.#owe(fair.name, 1);
      this.#owe(node.name, -1);
    }
    return node;
  }

  peek<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    const among = this.#policy.narrow(nodes);
    return this.#chosenInTurn(among) ?? this.#mostOwed(among, this.#policy.peek(among));
  }

  #chosenInTurn<Node extends BalanceNode>(nodes: readonly Node[]): Node | undefined {
    if (this.#left <= 0 || this.#currentTurn() !== this.#turn) return undefined;
    return nodes.find(({ name }) => name === this.#chosen);
  }

  #mostOwed<Node extends BalanceNode>(nodes: readonly Node[], fair: Node): Node {
    if (this.#policy.followsLoad) return fair;
    let most = fair;
    for (const node of nodes)
      if ((this.#owed.get(node.name) ?? 0) > (this.#owed.get(most.name) ?? 0)) most = node;
    return most;
  }

  #owe(name: string, units: number): void {
    const owed = (this.#owed.get(name) ?? 0) + units;
    // A node that was away for long is not flooded when it comes back.
    this.#owed.set(name, Math.max(-MAX_OWED, Math.min(MAX_OWED, owed)));
  }
}
