// Which nodes a policy is given to choose from: those near by, those that have a weight, and a node that has just come back
// only now and then. It knows no policy, and time only as a function.

import type { BalanceNode, Policy } from './policy.js';

export interface Locality {
  readonly tag: string;
  readonly value: string;
}

/** A node that has just come back has this part of its share at first: Envoy's default too. */
const FIRST_SHARE = 0.1;

export interface PreferenceSettings {
  /** Null: all are as near. */
  readonly locality: Locality | null;
  /** Time until a node that was away has its whole share; 0: at once. */
  readonly slowStartMs: number;
  readonly nowMs: () => number;
}

export class Preferences implements Policy {
  readonly #policy: Policy;
  readonly #settings: PreferenceSettings;
  /** Of nodes that are coming back: parts of a choice that they have saved up. */
  readonly #credit = new Map<string, number>();

  constructor(policy: Policy, settings: PreferenceSettings) {
    this.#policy = policy;
    this.#settings = settings;
  }

  get followsLoad(): boolean {
    return this.#policy.followsLoad;
  }

  mostInTurn(node: string): number {
    return this.#policy.mostInTurn(node);
  }

  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    return this.#policy.choose(this.#admitted(this.narrow(nodes), true));
  }

  peek<Node extends BalanceNode>(nodes: readonly Node[]): Node {
    return this.#policy.peek(this.#admitted(this.narrow(nodes), false));
  }

  /** A weight of 0 is the stronger wish: it says "only when nobody else can", wherever the others are. */
  narrow<Node extends BalanceNode>(nodes: readonly Node[]): readonly Node[] {
    if (nodes.length === 1) return nodes;
    const { locality } = this.#settings;
    const weighty = preferred(nodes, hasWeight);
    return locality === null ? weighty : preferred(weighty, ({ tags }) => isLocal(tags, locality));
  }

  /** Those that take part in this choice: one that is coming back in so many of them as its share has grown to. */
  #admitted<Node extends BalanceNode>(nodes: readonly Node[], takes: boolean): readonly Node[] {
    if (this.#settings.slowStartMs === 0 || nodes.length === 1) return nodes;
    if (!nodes.some(hasBeenAway)) return nodes;
    const nowMs = this.#settings.nowMs();
    let most = 0;
    for (const node of nodes) most = Math.max(most, this.#shareOf(node, nowMs));
    // Where all are coming back somebody must take it: what counts is how far each is beside the others.
    return nodes.filter((node) => {
      const part = this.#shareOf(node, nowMs) / most;
      if (part >= 1) return true;
      const credit = (this.#credit.get(node.name) ?? 0) + part;
      if (takes) this.#credit.set(node.name, credit >= 1 ? credit - 1 : credit);
      return credit >= 1;
    });
  }

  #shareOf({ backSinceMs }: BalanceNode, nowMs: number): number {
    if (backSinceMs === undefined) return 1;
    return Math.max(FIRST_SHARE, Math.min(1, (nowMs - backSinceMs) / this.#settings.slowStartMs));
  }
}

function hasBeenAway({ backSinceMs }: BalanceNode): boolean {
  return backSinceMs !== undefined && backSinceMs !== Number.NEGATIVE_INFINITY;
}

function hasWeight({ weight }: BalanceNode): boolean {
  return weight > 0;
}

export function isLocal(tags: BalanceNode['tags'], { tag, value }: Locality): boolean {
  return tags !== undefined && Object.hasOwn(tags, tag) && tags[tag] === value;
}

function preferred<Node extends BalanceNode>(
  nodes: readonly Node[],
  wanted: (node: Node) => boolean,
): readonly Node[] {
  // Mostly all are: then nothing is copied.
  let count = 0;
  for (const node of nodes) if (wanted(node)) count++;
  return count === 0 || count === nodes.length ? nodes : nodes.filter(wanted);
}
