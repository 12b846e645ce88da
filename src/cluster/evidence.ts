// Whether a primary that does not answer is dead, or only out of the proxy's reach: judged by what its replicas still receive.
// Pure: it reads no clock and asks nobody; what has to be asked is part of the verdict.
//
// A primary that was killed resets its connections: its replicas stop receiving at once. A primary that is frozen, or whose
// machine has lost its power, does not: its replicas call themselves receiving for a minute (wal_receiver_timeout,
// replica_net_timeout). And a primary that is alive but idle sends nothing for half a minute. So:
//   - a replica that does not receive is no evidence of life;
//   - a replica whose receiver has moved since the primary stopped answering us, and lately, is evidence of life;
//   - a replica that receives but is silent must be asked: it makes its receiver reach for the upstream
//     (NodeControl.confirmReceiving), and what that finds holds for a while.

import { follows, isAvailable } from './election.js';
import { type ClusterSnapshot, findNode, type NodeSnapshot } from './snapshot.js';

export type Judgement =
  /** The primary is not down, or there is none: nothing to judge. */
  | { readonly verdict: 'no-case' }
  /** Not everything that is needed is known yet. */
  | { readonly verdict: 'wait'; readonly why: string }
  /** Alive behind our back. */
  | { readonly verdict: 'alive'; readonly why: string }
  /** These replicas must confirm whether they still receive. */
  | { readonly verdict: 'ask'; readonly replicas: readonly string[] }
  | { readonly verdict: 'dead'; readonly why: string };

export interface EvidenceRules {
  /** A receiver that moved so lately is alive; one that has been silent for so long must be asked. */
  readonly freshMs: number;
  /** So long an answer to `ask` holds, and so long a replica is waited for that only answers with errors. */
  readonly confirmedForMs: number;
}

/** Answers of confirmReceiving, by replica. */
export type Confirmations = ReadonlyMap<string, { readonly atMs: number; readonly receiving: boolean }>;

export function judge(
  snapshot: ClusterSnapshot,
  confirmations: Confirmations,
  rules: EvidenceRules,
  nowMs: number,
): Judgement {
  const primary = findNode(snapshot, snapshot.lastPrimary);
  if (primary === null || primary.health !== 'down' || primary.fenced || primary.failingSinceMs === null)
    return { verdict: 'no-case' };
  const failingSinceMs = primary.failingSinceMs;
  const others = snapshot.nodes.filter((node) => node !== primary);
  if (others.length === 0) return { verdict: 'wait', why: 'there is no other node' };
  const isUnheard = (node: NodeSnapshot): boolean => node.appliedAtMs <= failingSinceMs;
  // One that has told nothing but errors for a while is waited for no longer than one that is down.
  const isMute = (node: NodeSnapshot): boolean =>
    node.failureKind !== null && isUnheard(node) && nowMs - failingSinceMs >= rules.confirmedForMs;
  const replicas = others.filter((node) => node.claims === 'replica' && isAvailable(node) && !isMute(node));
  if (replicas.length === 0) return { verdict: 'wait', why: 'no replica answers either' };
  const unheard = replicas.filter(isUnheard);
  if (unheard.length > 0) return { verdict: 'wait', why: `waiting for a newer answer of ${names(unheard)}` };

  const receiving = replicas.filter((node) => receivesFrom(node, primary, snapshot));
  const moving = receiving.filter(
    ({ upstream }) => upstream!.movedAtMs > failingSinceMs && nowMs - upstream!.movedAtMs < rules.freshMs,
  );
  if (moving.length > 0) return alive(primary, moving);

  const silent = receiving.filter((node) => {
    const answer = confirmations.get(node.name);
    return (
      answer === undefined || answer.atMs <= failingSinceMs || nowMs - answer.atMs >= rules.confirmedForMs
    );
  });
  const confirmed = receiving.filter(
    (node) => !silent.includes(node) && confirmations.get(node.name)!.receiving,
  );
  if (confirmed.length > 0) return alive(primary, confirmed);
  if (silent.length > 0) {
    // A receiver that was busy a moment ago gets its time to show that it still is; asking costs the servers something.
    if (nowMs - failingSinceMs < rules.freshMs)
      return { verdict: 'wait', why: `waiting whether ${names(silent)} still receive from it` };
    return { verdict: 'ask', replicas: silent.map((node) => node.name) };
  }
  return {
    verdict: 'dead',
    why: `${primary.name} does not answer (${primary.reason}) and none of ${names(replicas)} receives from it`,
  };
}

const names = (nodes: readonly NodeSnapshot[]): string => nodes.map((node) => node.name).join(', ');

const alive = (primary: NodeSnapshot, receivers: readonly NodeSnapshot[]): Judgement => ({
  verdict: 'alive',
  why:
    `${primary.name} does not answer the proxy (${primary.reason}), but ${names(receivers)} still receive from it: ` +
    'it is cut off from the proxy only and is not replaced',
});

/**
 * An upstream that is none of our nodes counts as the primary: the replicas may know it by another address than we do, and
 * what they receive must not be taken for nothing.
 */
function receivesFrom(replica: NodeSnapshot, primary: NodeSnapshot, snapshot: ClusterSnapshot): boolean {
  if (replica.upstream?.receiving !== true) return false;
  if (follows(replica, primary)) return true;
  return !snapshot.nodes.some((node) => node !== primary && follows(replica, node));
}
