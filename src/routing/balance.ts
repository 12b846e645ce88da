// How reads are spread over the nodes that may take them; each policy keeps only what it needs to be fair.
// It knows no session and no statement; load comes in as a function.

export interface BalanceNode {
  readonly name: string;
  readonly weight: number;
}

export interface Balancer {
  /** `nodes` is never empty. */
  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node;
}

/**
 * Chooses the same node for all that is chosen within one turn, so that it can be sent there together. What the policy
 * would have chosen meanwhile is owed to those nodes, so that over many turns the shares are the policy's.
 */
export class ByTurns implements Balancer {
  readonly #policy: Balancer;
  readonly #currentTurn: () => number;
  #turn = -1;
  #chosen = '';
  #left = 0;
  /** Units that a node would have had, and has not. */
  readonly #owed = new Map<string, number>();

  constructor(policy: Balancer, currentTurn: () => number) {
    this.#policy = policy;
    this.#currentTurn = currentTurn;
  }

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    // One who has no choice does not choose for the others.
    if (nodes.length === 1) return nodes[0]!;
    const fair = this.#policy.choose(nodes);
    const turn = this.#currentTurn();
    let node =
      turn === this.#turn && this.#left > 0 ? nodes.find(({ name }) => name === this.#chosen) : undefined;
    if (node === undefined) {
      node = this.#mostOwed(nodes, fair);
      this.#turn = turn;
      this.#chosen = node.name;
      this.#left = MAX_IN_TURN;
    }
    this.#left--;
    if (node !== fair) {
      this.#owe(fair.name, 1);
      this.#owe(node.name, -1);
    }
    return node;
  }

  #mostOwed<Node extends BalanceNode>(nodes: readonly Node[], fair: Node): Node {
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

/** Beyond this a turn is long enough to be worth another node's work. */
const MAX_IN_TURN = 32;
const MAX_OWED = 64;

export type BalancePolicy = 'round-robin' | 'least-connections' | 'weighted';

/** `outstanding`: units that the node has under way or waiting. */
export function createBalancer(policy: BalancePolicy, outstanding: (node: string) => number): Balancer {
  switch (policy) {
    case 'round-robin':
      return new RoundRobin();
    case 'least-connections':
      return new LeastConnections(outstanding);
    case 'weighted':
      return new Weighted();
  }
}

class RoundRobin implements Balancer {
  #turn = 0;

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    // A session that is kept where it is must not take somebody else's turn.
    if (nodes.length === 1) return nodes[0]!;
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    return nodes[this.#turn % nodes.length]!;
  }
}

class LeastConnections implements Balancer {
  readonly #outstanding: (node: string) => number;
  readonly #ties = new RoundRobin();

  constructor(outstanding: (node: string) => number) {
    this.#outstanding = outstanding;
  }

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    let least = Number.POSITIVE_INFINITY;
    let best: Node[] = [];
    for (const node of nodes) {
      const load = this.#outstanding(node.name);
      if (load < least) {
        least = load;
        best = [node];
      } else if (load === least) {
        best.push(node);
      }
    }
    return best.length === 1 ? best[0]! : this.#ties.choose(best);
  }
}

/** Smooth weighted round-robin, as nginx does it: the shares are exact over a cycle and evenly mixed within it. */
class Weighted implements Balancer {
  readonly #credit = new Map<string, number>();

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    const weighty = nodes.filter((node) => node.weight > 0);
    const candidates = weighty.length > 0 ? weighty : nodes;
    let total = 0;
    let best: Node | null = null;
    let bestCredit = Number.NEGATIVE_INFINITY;
    for (const node of candidates) {
      const weight = weighty.length > 0 ? node.weight : 1;
      const credit = (this.#credit.get(node.name) ?? 0) + weight;
      total += weight;
      this.#credit.set(node.name, credit);
      if (credit > bestCredit) {
        bestCredit = credit;
        best = node;
      }
    }
    this.#credit.set(best!.name, bestCredit - total);
    return best!;
  }
}
