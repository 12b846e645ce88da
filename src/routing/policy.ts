// What holds for one unit: the settings of cluster, listener, user, rule, session and hint laid over each other, the later stronger.
// It knows no statement, no session and no node's state; who asks for what is told to it as layers.

import type { AutoPrepareChoice } from '../protocol/auto-prepare-choice.js';
import type { ConsistencyLevel } from './decide.js';

/** Where reads are wanted; writes go to the primary whatever it says. */
export type Target =
  | { readonly kind: 'primary' }
  | { readonly kind: 'replica' }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'tag'; readonly tag: string; readonly value: string };

/** When no node of the target may take the read: it goes to the primary, or waits for one that may. */
export type Fallback = 'primary' | 'hold';

export type RuleLogLevel = 'debug' | 'info' | 'warn';

export interface UnitPolicy {
  readonly consistency: ConsistencyLevel;
  /** Of level `bounded` the bound. */
  readonly maxLagMs: number;
  /** What `maxLagMs` is for whoever asks for `bounded` and names no bound. */
  readonly boundMs: number;
  /** How long a read waits for a replica to be fresh enough. */
  readonly waitMs: number;
  readonly splitReads: boolean;
  /** Null: any replica, or the primary. */
  readonly target: Target | null;
  readonly fallback: Fallback;
  /** From its arrival to its final reply; null: none. */
  readonly timeoutMs: number | null;
  /** Null: as the cluster. */
  readonly sharing: boolean | null;
  readonly autoPrepare: AutoPrepareChoice;
  /** Whose watermark the unit reads and moves; null: as the session. */
  readonly sessionKey: string | null;
  /** The rules that had a say, with commas; null: none. */
  readonly rule: string | null;
  /** Not run at all, for this reason. */
  readonly deny: string | null;
  /** A line in the log. */
  readonly log: RuleLogLevel | null;
}

/** What a listener, user, rule, session or hint may say of it. Null: nothing. */
export interface PolicyLayer {
  readonly consistency: ConsistencyLevel | null;
  readonly maxLagMs: number | null;
  readonly waitMs: number | null;
  readonly target: Target | null;
  readonly fallback: Fallback | null;
  readonly timeoutMs: number | null;
  readonly sharing: boolean | null;
  readonly autoPrepare: AutoPrepareChoice;
  readonly sessionKey: string | null;
}

/** Nothing is said. */
export const PREPARE_AS_CLUSTER: AutoPrepareChoice = Object.freeze({
  enabled: null,
  threshold: null,
  maxStatements: null,
});

/** It says nothing. */
export const NO_LAYER: PolicyLayer = Object.freeze({
  consistency: null,
  maxLagMs: null,
  waitMs: null,
  target: null,
  fallback: null,
  timeoutMs: null,
  sharing: null,
  autoPrepare: PREPARE_AS_CLUSTER,
  sessionKey: null,
});

export const TO_PRIMARY: Target = Object.freeze({ kind: 'primary' });
export const TO_REPLICA: Target = Object.freeze({ kind: 'replica' });

/** What a cluster says when nobody else says anything. */
export interface ClusterPolicy {
  readonly consistency: ConsistencyLevel;
  readonly maxLagMs: number;
  readonly boundMs: number;
  readonly waitMs: number;
  readonly splitReads: boolean;
}

export function clusterPolicy({
  consistency,
  maxLagMs,
  boundMs,
  waitMs,
  splitReads,
}: ClusterPolicy): UnitPolicy {
  return {
    consistency,
    maxLagMs: consistency === 'bounded' ? boundMs : maxLagMs,
    boundMs,
    waitMs,
    splitReads,
    target: null,
    fallback: 'primary',
    timeoutMs: null,
    sharing: null,
    autoPrepare: PREPARE_AS_CLUSTER,
    sessionKey: null,
    rule: null,
    deny: null,
    log: null,
  };
}

/**
 * `policy`, or another one that says what the layer does. Between a level `primary` and a target elsewhere the later word
 * counts; said at once, the primary does. Whoever asks for replicas where the level was `primary` gets those of `session`.
 */
export function overlay(policy: UnitPolicy, layer: PolicyLayer): UnitPolicy {
  if (layer === NO_LAYER) return policy;
  let consistency = layer.consistency ?? policy.consistency;
  let target = layer.target ?? policy.target;
  if (layer.consistency === 'primary' && target !== null) target = TO_PRIMARY;
  else if (consistency === 'primary' && layer.target !== null && layer.target.kind !== 'primary')
    consistency = 'session';
  const becomesBounded = consistency === 'bounded' && policy.consistency !== 'bounded';
  return {
    ...policy,
    consistency,
    maxLagMs: layer.maxLagMs ?? (becomesBounded ? policy.boundMs : policy.maxLagMs),
    waitMs: layer.waitMs ?? policy.waitMs,
    target,
    fallback: layer.fallback ?? policy.fallback,
    timeoutMs: layer.timeoutMs ?? policy.timeoutMs,
    sharing: layer.sharing ?? policy.sharing,
    autoPrepare: filledInChoice(layer.autoPrepare, policy.autoPrepare),
    sessionKey: layer.sessionKey ?? policy.sessionKey,
  };
}

/** One layer, and what it makes of the policies that it has been laid over: each is made once. */
export class Overlay {
  readonly layer: PolicyLayer;
  readonly #made = new WeakMap<UnitPolicy, UnitPolicy>();

  constructor(layer: PolicyLayer) {
    this.layer = layer;
  }

  over(policy: UnitPolicy): UnitPolicy {
    let made = this.#made.get(policy);
    if (made === undefined) {
      made = overlay(policy, this.layer);
      this.#made.set(policy, made);
    }
    return made;
  }
}

/** `a` where it says something, else `b`. */
export function filledIn(a: PolicyLayer, b: PolicyLayer): PolicyLayer {
  if (a === NO_LAYER) return b;
  if (b === NO_LAYER) return a;
  return {
    consistency: a.consistency ?? b.consistency,
    maxLagMs: a.maxLagMs ?? b.maxLagMs,
    waitMs: a.waitMs ?? b.waitMs,
    target: a.target ?? b.target,
    fallback: a.fallback ?? b.fallback,
    timeoutMs: a.timeoutMs ?? b.timeoutMs,
    sharing: a.sharing ?? b.sharing,
    autoPrepare: filledInChoice(a.autoPrepare, b.autoPrepare),
    sessionKey: a.sessionKey ?? b.sessionKey,
  };
}

function filledInChoice(a: AutoPrepareChoice, b: AutoPrepareChoice): AutoPrepareChoice {
  if (a === PREPARE_AS_CLUSTER) return b;
  if (b === PREPARE_AS_CLUSTER) return a;
  return {
    enabled: a.enabled ?? b.enabled,
    threshold: a.threshold ?? b.threshold,
    maxStatements: a.maxStatements ?? b.maxStatements,
  };
}
