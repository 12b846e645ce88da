// The policy of each unit of one session: of cluster, listener, user and rules, then what the session has set, then the hint.
// It makes nothing on the way of a unit for which nobody says anything; it knows no server connection.

import { monotonicMs } from '../lib/clock.js';
import { ProxyError } from '../lib/errors.js';
import type { SessionLevel } from '../protocol/client-connection.js';
import type { PoolKey } from '../protocol/server-connection.js';
import type { RuledStatement, Unit } from '../protocol/unit.js';
import { type ConsistencyLevel, LEVELS } from '../routing/decide.js';
import { NO_LAYER, Overlay, TO_PRIMARY, type UnitPolicy } from '../routing/policy.js';
import type { ConnectionFacts, RuleMatch } from '../routing/rules.js';
import { NO_MATCH } from '../routing/rules.js';
import { countOne } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { Late } from './deadlines.js';
import type { ExplainedPolicy, Policies, PolicyContext } from './policies.js';
import { readWhereAsked, type SessionListener } from './session-rules.js';

const CANCEL_AGAIN_MS = 1000;
const NOBODY: ConnectionFacts = { user: '', database: '', application: '', clientAddress: '' };

/** What a client can set for itself: the same layers for all. */
const LAYERS_OF_LEVELS: ReadonlyMap<ConsistencyLevel, Overlay> = new Map(
  LEVELS.map((consistency) => [consistency, new Overlay({ ...NO_LAYER, consistency })]),
);

const PRIMARY_ONLY = new Overlay({ ...NO_LAYER, target: TO_PRIMARY });

export class SessionPolicy implements SessionLevel {
  readonly #cluster: ClusterRuntime;
  readonly #listener: SessionListener;
  readonly #address: string;
  #facts = NOBODY;
  /** Of what configuration `context` is. */
  #policies: Policies | null = null;
  #listenerLayer: unknown = null;
  #context: PolicyContext | null = null;
  /** The rules of the last unit. */
  #match: RuleMatch = NO_MATCH;
  /** What the client has set for itself; null: nothing. */
  #session: Overlay | null = null;
  needsPrimary = false;
  /** Of the unit that is under way, or was last. */
  #current: UnitPolicy;
  readonly #late: Late;
  #span: number | null = null;
  /** Why the unit was cancelled: its deadline has passed. */
  late: ProxyError | null = null;

  /** `address`: of the client. `late`: whose units have deadlines. */
  constructor(cluster: ClusterRuntime, listener: SessionListener, address: string, late: Late) {
    this.#address = address;
    this.#cluster = cluster;
    this.#listener = listener;
    this.#late = late;
    this.#current = cluster.policies.cluster;
  }

  get current(): UnitPolicy {
    return this.#current;
  }

  /** A unit has come: it has a policy, and a deadline from now on, until `ended`. */
  begin(unit: Unit): void {
    const policy = this.for(unit);
    this.#current = policy;
    readWhereAsked(unit, policy);
    if (policy.timeoutMs !== null) this.#lookAt(policy.timeoutMs);
  }

  /** For an operator: counts nothing. */
  peek(unit: Unit): ExplainedPolicy {
    const explained = this.#cluster.policies.explain(this.#listener.layer, this.#facts, unit, this.#session);
    const policy = this.#possible(explained.policy);
    readWhereAsked(unit, policy);
    return { ...explained, policy };
  }

  ended(): void {
    if (this.#span === null) return;
    this.#cluster.deadlines.remove(this.#late, this.#span);
    this.#span = null;
    this.late = null;
  }

  /** A cancel may come before what it is to cancel: it is sent again by and by. */
  passed(): ProxyError {
    if (this.late === null) {
      this.late = new ProxyError('statement-timeout');
      this.#cluster.counters.timeouts++;
    }
    this.#lookAt(CANCEL_AGAIN_MS);
    return this.late;
  }

  #lookAt(afterMs: number): void {
    this.#span = this.#cluster.deadlines.add(this.#late, monotonicMs() + afterMs);
  }

  /** Why the unit must not run; null: it may. */
  get denial(): ProxyError | null {
    const { deny } = this.#match;
    if (deny === null) return null;
    countOne(this.#cluster.counters.ruleDenials, deny.rule);
    return new ProxyError('denied-by-rule', { detail: `${deny.message} (rule ${deny.rule})` });
  }

  /** `node`: where it runs; null: it was denied. */
  log(shape: string, node: string | null, { log, rule }: UnitPolicy = this.#current): void {
    if (log === null) return;
    this.#cluster.ruleLog.note({ level: log, rule, user: this.#facts.user, shape, node });
  }

  /** For what is not submitted. */
  denialOf(ruled: readonly RuledStatement[]): ProxyError | null {
    if (ruled.length === 0) return null;
    const { match, policy } = this.#now().ruled({ ruled });
    if (match.deny === null) return null;
    this.#count(match);
    this.log(ruled[0]!.shape, null, policy);
    return this.denial;
  }

  loggedIn({ user, database }: PoolKey, application: string): void {
    this.#facts = { user, database, application, clientAddress: this.#address };
    this.#context = null;
  }

  setConsistency(level: ConsistencyLevel | null): void {
    this.#session = level === null ? null : LAYERS_OF_LEVELS.get(level)!;
  }

  get consistency(): ConsistencyLevel {
    return this.#session?.layer.consistency ?? this.#now().base.consistency;
  }

  get facts(): ConnectionFacts {
    return this.#facts;
  }

  /** The rules that match the last unit that a policy was asked for. */
  get match(): RuleMatch {
    return this.#match;
  }

  get autoPrepareThreshold(): number {
    return this.#now().autoPrepareThreshold(this.#cluster.config.autoPrepare);
  }

  /** Once for each unit: matches are counted. */
  for(unit: Unit): UnitPolicy {
    let { policy, match } = this.#now().ruled(unit);
    this.#count(match);
    if (this.#session !== null) policy = this.#session.over(policy);
    if (unit.hint === null) return this.#possible(policy);
    const { overlay, isUnread } = this.#policies!.hint(unit.hint);
    if (isUnread) this.#cluster.counters.hintsUnread++;
    return this.#possible(overlay.over(policy));
  }

  /** Whatever is asked for. */
  #possible(policy: UnitPolicy): UnitPolicy {
    return this.needsPrimary ? PRIMARY_ONLY.over(policy) : policy;
  }

  #count(match: RuleMatch): void {
    this.#match = match;
    if (match === NO_MATCH) return;
    for (const name of match.names) countOne(this.#cluster.counters.ruleMatches, name);
  }

  /** A reload has effect on the next unit. */
  #now(): PolicyContext {
    const { policies } = this.#cluster;
    const { layer } = this.#listener;
    if (this.#context === null || policies !== this.#policies || layer !== this.#listenerLayer) {
      this.#policies = policies;
      this.#listenerLayer = layer;
      this.#context = policies.contextFor(layer, this.#facts);
    }
    return this.#context;
  }
}
