// What a balancing policy is to those who use one, and what it may know of a node.
// Types only.

export interface BalanceNode {
  readonly name: string;
  readonly weight: number;
  readonly tags?: Readonly<Record<string, string>>;
  /** Monotonic time at which it took up reads again; -Infinity or absent: it has not been away. */
  readonly backSinceMs?: number;
}

export interface Balancer {
  /** `nodes` is never empty. */
  choose<Node extends BalanceNode>(nodes: readonly Node[]): Node;
  /** What `choose` would answer now; changes nothing. */
  peek<Node extends BalanceNode>(nodes: readonly Node[]): Node;
}

export interface Policy extends Balancer {
  /** Of these nodes, the ones among which it chooses. */
  narrow<Node extends BalanceNode>(nodes: readonly Node[]): readonly Node[];
  /** It looks at what nodes have under way: what was sent to one shows in its next choice. */
  readonly followsLoad: boolean;
  /** Units that may go to the node together without one of them waiting long for the others. */
  mostInTurn(node: string): number;
}
