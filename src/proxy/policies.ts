// What a cluster's configuration says of the units of its clients, made for one configuration: the policies of connections, and
// what hints make of them. A reload makes another one.
// It knows no session and no node's state.

import type { AutoPrepareConfig, ClusterConfig } from '../config/schema.js';
import type { OwnAutoPrepare } from '../config/schema-prepare.js';
import type { AutoPrepareChoice } from '../protocol/auto-prepare-choice.js';
import type { Unit } from '../protocol/unit.js';
import { type ConsistencyLevel, LEVELS } from '../routing/decide.js';
import { readHint } from '../routing/hint-layer.js';
import {
  clusterPolicy,
  NO_LAYER,
  Overlay,
  overlay,
  type PolicyLayer,
  PREPARE_AS_CLUSTER,
  type UnitPolicy,
} from '../routing/policy.js';
import {
  type ConnectionFacts,
  type ConnectionRules,
  NO_MATCH,
  type PatternTest,
  type RuleMatch,
  RuleSet,
  type RuleVerdict,
} from '../routing/rules.js';
import type { Hint } from '../sql/statement.js';

interface KnownHint {
  readonly overlay: Overlay;
  readonly isUnread: boolean;
}

/** A policy in force, and the rules that are in it. */
export interface Ruled {
  readonly policy: UnitPolicy;
  readonly match: RuleMatch;
}

export class Policies {
  /** Of the cluster alone. */
  readonly cluster: UnitPolicy;
  readonly rules: RuleSet;
  readonly #config: ClusterConfig;
  readonly #users = new Map<string, PolicyLayer>();
  readonly #contexts = new WeakMap<PolicyLayer, Map<PolicyLayer, Map<ConnectionRules, PolicyContext>>>();
  readonly #hints = new WeakMap<Hint, KnownHint>();
  readonly #unread: (directives: readonly string[]) => void;

  /** `unread`: a hint, seen for the first time, has directives that say nothing. */
  constructor(config: ClusterConfig, test: PatternTest, unread: (directives: readonly string[]) => void) {
    this.#config = config;
    this.#unread = unread;
    this.cluster = clusterPolicy({
      consistency: config.consistency.level,
      maxLagMs: config.consistency.maxLagMs,
      boundMs: config.consistency.boundMs,
      waitMs: config.consistency.waitMs,
      splitReads: config.routing.splitReads,
    });
    this.rules = new RuleSet(config.rules, test);
    for (const user of config.users ?? []) {
      const { sharing, autoPrepare, consistency } = user;
      if (sharing === undefined && autoPrepare === undefined && consistency === undefined) continue;
      this.#users.set(user.name, ownLayer(user));
    }
  }

  /** The same object for all connections of which the same is said. */
  contextFor(listener: PolicyLayer, facts: ConnectionFacts): PolicyContext {
    const user = this.#users.get(facts.user) ?? NO_LAYER;
    const rules = this.rules.forConnection(facts);
    const byUser = obtain(
      this.#contexts,
      listener,
      () => new Map<PolicyLayer, Map<ConnectionRules, PolicyContext>>(),
    );
    const byRules = obtain(byUser, user, () => new Map<ConnectionRules, PolicyContext>());
    return obtain(
      byRules,
      rules,
      () => new PolicyContext(overlay(overlay(this.cluster, listener), user), rules),
    );
  }

  /** `isUnread`: it has directives that say nothing to us. */
  hint(hint: Hint): KnownHint {
    let known = this.#hints.get(hint);
    if (known === undefined) {
      const { layer, unread } = readHint(hint, { levels: LEVELS, nodes: this.#config.nodes });
      if (unread.length > 0) this.#unread(unread);
      known = { overlay: new Overlay(layer), isUnread: unread.length > 0 };
      this.#hints.set(hint, known);
    }
    return known;
  }

  /** For an operator: what would hold for such a unit, and why; it counts nothing. */
  explain(
    listener: PolicyLayer,
    facts: ConnectionFacts,
    unit: Pick<Unit, 'ruled' | 'hint'>,
    session: Overlay | null = null,
  ): ExplainedPolicy {
    let { policy } = this.contextFor(listener, facts).ruled(unit);
    if (session !== null) policy = session.over(policy);
    const scope = { levels: LEVELS, nodes: this.#config.nodes };
    const hint = unit.hint === null ? null : readHint(unit.hint, scope);
    if (hint !== null) policy = overlay(policy, hint.layer);
    return { policy, rules: this.rules.explain(facts, unit.ruled), unread: hint?.unread ?? [] };
  }
}

export interface ExplainedPolicy {
  readonly policy: UnitPolicy;
  readonly rules: readonly RuleVerdict[];
  /** Directives of the hint that cannot be read. */
  readonly unread: readonly string[];
}

/** What holds for the connections of one listener and user that match the same rules. */
export class PolicyContext {
  readonly #plain: Ruled;
  readonly #rules: ConnectionRules;
  readonly #byMatch = new WeakMap<RuleMatch, Ruled>();

  constructor(base: UnitPolicy, rules: ConnectionRules) {
    this.#plain = { policy: base, match: NO_MATCH };
    this.#rules = rules;
  }

  /** Before rules. */
  get base(): UnitPolicy {
    return this.#plain.policy;
  }

  /** For one unit or another statements that recur may be prepared when they have come so often; Infinity: for none. */
  autoPrepareThreshold(cluster: Pick<AutoPrepareConfig, 'enabled' | 'threshold'>): number {
    const { enabled, threshold } = this.#plain.policy.autoPrepare;
    const byRule = this.#rules.autoPrepare;
    if (!(enabled ?? cluster.enabled) && !byRule.mayEnable) return Number.POSITIVE_INFINITY;
    return Math.min(threshold ?? cluster.threshold, byRule.threshold);
  }

  /** By cluster, listener, user and rules. */
  ruled(unit: Pick<Unit, 'ruled'>): Ruled {
    if (this.#rules.isEmpty) return this.#plain;
    const match = this.#rules.match(unit.ruled);
    if (match === NO_MATCH) return this.#plain;
    let ruled = this.#byMatch.get(match);
    if (ruled === undefined) {
      const policy: UnitPolicy = {
        ...overlay(this.#plain.policy, match.layer),
        rule: match.names.join(', '),
        deny: match.deny?.message ?? null,
        log: match.log,
      };
      ruled = { policy, match };
      this.#byMatch.set(match, ruled);
    }
    return ruled;
  }
}

/** What listeners and users say in place of their cluster. */
export function ownLayer(of: {
  readonly sharing?: { readonly enabled: boolean } | undefined;
  readonly autoPrepare?: OwnAutoPrepare | undefined;
  readonly consistency?: { readonly level?: ConsistencyLevel | undefined } | undefined;
}): PolicyLayer {
  return {
    ...NO_LAYER,
    consistency: of.consistency?.level ?? null,
    sharing: of.sharing?.enabled ?? null,
    autoPrepare: choiceOf(of.autoPrepare),
  };
}

function choiceOf(own: OwnAutoPrepare | undefined): AutoPrepareChoice {
  if (own === undefined) return PREPARE_AS_CLUSTER;
  const { enabled = null, threshold = null, maxStatements = null } = own;
  return { enabled, threshold, maxStatements };
}

function obtain<K extends object, V>(
  map: { get(key: K): V | undefined; set(key: K, value: V): unknown },
  key: K,
  create: () => V,
): V {
  let found = map.get(key);
  if (found === undefined) {
    found = create();
    map.set(key, found);
  }
  return found;
}
