// What this process has found out of how far replicas have come, between two probes: it is laid over the monitor's picture.
// It knows no session; an answer stands until a probe that was sent after it has been answered.

import type { ClusterSnapshot, NodeSnapshot } from '../cluster/snapshot.js';
import type { Position, PositionFunctions } from '../protocol/position.js';

interface Learnt {
  readonly position: Position;
  readonly atMs: number;
}

export class Applied {
  readonly #positions: PositionFunctions;
  readonly #learnt = new Map<string, Learnt>();

  constructor(positions: PositionFunctions) {
    this.#positions = positions;
  }

  /** Null: nothing new. `atMs`: when the node's answer had come. */
  learn(snapshot: ClusterSnapshot, name: string, have: Position, atMs: number): ClusterSnapshot | null {
    const node = snapshot.nodes.find((each) => each.name === name);
    if (node === undefined || node.applied === null || node.role !== 'replica' || node.health !== 'up')
      return null;
    if (!this.#positions.related(node.applied, have) || this.#positions.covers(node.applied, have))
      return null;
    const position = this.#positions.union(node.applied, have);
    this.#learnt.set(name, { position, atMs });
    return this.#laid(snapshot, (each) => (each === node ? position : null));
  }

  /** After a crash a node may come back behind what it had. */
  forget(name: string): void {
    this.#learnt.delete(name);
  }

  forgetAll(): void {
    this.#learnt.clear();
  }

  over(snapshot: ClusterSnapshot): ClusterSnapshot {
    if (this.#learnt.size === 0) return snapshot;
    return this.#laid(snapshot, (node) => {
      const learnt = this.#learnt.get(node.name);
      if (learnt === undefined) return null;
      const isOutdated = node.appliedAtMs > learnt.atMs || node.health !== 'up' || node.role !== 'replica';
      if (isOutdated || node.applied === null || !this.#positions.related(node.applied, learnt.position)) {
        this.#learnt.delete(node.name);
        return null;
      }
      return this.#positions.union(node.applied, learnt.position);
    });
  }

  #laid(snapshot: ClusterSnapshot, applied: (node: NodeSnapshot) => Position | null): ClusterSnapshot {
    const nodes = snapshot.nodes.map((node) => {
      const position = applied(node);
      return position === null ? node : { ...node, applied: position };
    });
    return { ...snapshot, nodes };
  }
}
