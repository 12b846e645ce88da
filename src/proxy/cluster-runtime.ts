// One cluster at run time: its snapshot, the pools of its nodes, its users, its sessions and who is held.
// It decides nothing and moves no bytes: it brings together what sessions ask of.

import type { ClusterSnapshot, NodeSnapshot } from '../cluster/snapshot.js';
import type { ClusterConfig } from '../config/schema.js';
import { type KeyedLimits, KeyedWatermarks } from '../consistency/keyed-watermarks.js';
import type { PositionSamples } from '../consistency/watermark.js';
import type { SharedPosition, WatermarkStore } from '../consistency/watermark-store.js';
import { monotonicMs } from '../lib/clock.js';
import type { ProxyError } from '../lib/errors.js';
import { NodePool, type PoolLimits } from '../pool/node-pool.js';
import type { LoginCallback, LoginRequest } from '../protocol/client-connection.js';
import type { Credential } from '../protocol/credential.js';
import type { StoredVerifier } from '../protocol/node-control.js';
import type { Position, PositionFunctions } from '../protocol/position.js';
import type { ProtocolRuntime } from '../protocol/protocol.js';
import type { Connect, PoolKey, Standing } from '../protocol/server-connection.js';
import type { Balancer } from '../routing/balance.js';
import { type ConsistencyLevel, type Decision, decide, type SessionView } from '../routing/decide.js';
import { GateOdds } from '../routing/gate-odds.js';
import { takesUnits } from '../routing/node-mode.js';
import type { StatementClass } from '../sql/statement.js';
import type { ReportBug } from '../telemetry/bug.js';
import { type ClusterCounters, type NodeCounters, nodeCounters } from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';
import { Statements } from '../telemetry/statements.js';
import { Applied } from './applied.js';
import { Balancing } from './balancing.js';
import { Borrow } from './borrow.js';
import { boundedPatternTest } from './bounded-pattern.js';
import { CatalogRefresh, type OpenControl } from './catalog-refresh.js';
import { Deadlines } from './deadlines.js';
import { HoldQueue } from './hold.js';
import { KnownLogins, type Login } from './known-logins.js';
import { leaveDatabase } from './leave-database.js';
import { Policies } from './policies.js';
import { ReadWaits } from './read-waits.js';
import { RuleLog } from './rule-log.js';
import type { Session } from './session.js';
import { type AskedStanding, Standings } from './standings.js';
import { Users } from './users.js';
import { limitsByUser } from './workers/limits.js';

/** The part of the monitor that the data path uses. */
export interface ClusterMonitorPort {
  readonly snapshot: ClusterSnapshot;
  readonly samples: PositionSamples;
  onSnapshot(listener: (snapshot: ClusterSnapshot) => void): void;
  /** Something failed on the data path: the node is avoided until a probe has answered. */
  reportFailure(node: string, error: Error): void;
  /**
   * A position of the primary that is asked for after `afterMs` is wanted soon: `came` is called once, also at once, when it is
   * among the samples; with null when it cannot be had.
   */
  requestPosition(afterMs: number, came: (position: Position | null) => void): void;
  /** A user's stored password, from the primary or, while there is none, from a node that has its users by replication. */
  verifier(user: string): Promise<StoredVerifier | null>;
  /** What a login of this user would be given there. */
  standing(user: string, database: string, maxAgeMs: number): Promise<Standing>;
  /** Opens control connections to single databases of the primary; null while there is none. */
  openOnPrimary(): OpenControl | null;
  /** DDL has passed through this process: others that read the same catalog are told. */
  schemaChanged(): void;
  /** Other processes of this proxy are to leave the database, too. */
  leaveDatabase(database: string): void;
}

/** Where the cluster's limits hold over several processes: what this one may use of them. */
export interface PoolAllowance {
  limits(node: string, whole: PoolLimits): PoolLimits;
  /** The pool tells it what it uses from now on. */
  adopt(node: string, pool: NodePool): void;
}

const RESUME_INTERVAL_MS = 100;
const MAX_PARSED = 1000;
/** Where no lease bounds it. */
const POSITION_TIMEOUT_MS = 10_000;

/** The cluster's own, before anybody else has a say (policies.ts). */
export interface ClusterSettings {
  readonly consistency: ConsistencyLevel;
  readonly maxLagMs: number;
  /** Replicas may be asked for their position together with a read. */
  readonly gate: boolean;
  /** For how long a session that reads on the primary waits to come back to a replica. */
  readonly returnMs: number;
  readonly sharing: ClusterConfig['sharing'];
}

export class ClusterRuntime {
  readonly name: string;
  readonly protocol: ProtocolRuntime;
  readonly positions: PositionFunctions;
  readonly counters: ClusterCounters;
  readonly log: Log;
  readonly #bug: ReportBug;
  /** Who has thrown in its turn is not waited for any more; its client is told why. */
  readonly #broke = (who: { terminate(error: ProxyError): void }, cause: unknown): void =>
    who.terminate(this.#bug(cause));
  readonly hold = new HoldQueue(this.#broke);
  readonly deadlines = new Deadlines(this.#broke);
  readonly ruleLog: RuleLog;
  readonly waits = new ReadWaits(this.#broke);
  readonly gateOdds = new GateOdds();
  readonly sessions = new Set<Session>();
  readonly statements = new Statements();
  readonly users: Users;
  readonly logins = new KnownLogins();
  readonly standings: Standings;
  readonly keyed: KeyedWatermarks;
  /** Null: nobody else serves the same keys. */
  readonly store: WatermarkStore | null;
  readonly #monitor: ClusterMonitorPort;
  readonly #allowance: PoolAllowance | null;
  readonly #pools = new Map<string, NodePool>();
  readonly #catalog: CatalogRefresh;
  readonly #balancing: Balancing;
  #config: ClusterConfig;
  /** Of each node's pool. */
  #limits: PoolLimits;
  #settings: ClusterSettings;
  #policies: Policies;
  #snapshot: ClusterSnapshot;
  #closed = false;
  #resumedAtMs = Number.NEGATIVE_INFINITY;
  readonly #generations = new Map<string, number>();
  readonly #applied: Applied;
  readonly #parsed = new Map<string, Position>();

  constructor(parts: {
    config: ClusterConfig;
    protocol: ProtocolRuntime;
    positions: PositionFunctions;
    monitor: ClusterMonitorPort;
    counters: ClusterCounters;
    log: Log;
    bug: ReportBug;
    allowance?: PoolAllowance | null;
    store?: WatermarkStore | null;
  }) {
    this.name = parts.config.name;
    this.protocol = parts.protocol;
    this.positions = parts.positions;
    this.counters = parts.counters;
    this.log = parts.log;
    this.#bug = parts.bug;
    this.#config = parts.config;
    this.#monitor = parts.monitor;
    this.keyed = new KeyedWatermarks(parts.positions, keyedLimits(parts.config));
    this.store = parts.store ?? null;
    this.#allowance = parts.allowance ?? null;
    this.#snapshot = parts.monitor.snapshot;
    this.users = new Users(parts.config.users, (user) => parts.monitor.verifier(user));
    this.standings = new Standings((...asked) => parts.monitor.standing(...asked));
    this.#applied = new Applied(parts.positions);
    this.#catalog = new CatalogRefresh(parts.protocol, () => this.#monitor.openOnPrimary(), parts.log);
    this.#limits = poolLimits(parts.config);
    this.#settings = settingsOf(parts.config);
    this.ruleLog = new RuleLog(this.log);
    this.#policies = this.#createPolicies();
    this.#balancing = new Balancing(parts.config.routing, (node) => this.#pools.get(node)?.outstanding ?? 0);
    this.#openPools();
    parts.monitor.onSnapshot((snapshot) => this.#onSnapshot(snapshot));
  }

  get settings(): ClusterSettings {
    return this.#settings;
  }

  /** Another object after each reload. */
  get policies(): Policies {
    return this.#policies;
  }

  get snapshot(): ClusterSnapshot {
    return this.#snapshot;
  }

  /** How often the node has been down: one that comes back may have lost what it had applied. */
  readonly generationOf = (node: string): number => this.#generations.get(node) ?? 0;

  /** As far as its mode says. */
  takesUnits(node: string): boolean {
    const { nodes, primary } = this.#snapshot;
    const mode = nodes.find(({ name }) => name === node)?.mode;
    return mode !== undefined && takesUnits(mode, node === primary);
  }

  get samples(): PositionSamples {
    return this.#monitor.samples;
  }

  get holdMs(): number {
    return this.#config.failover.holdMs;
  }

  get config(): ClusterConfig {
    return this.#config;
  }

  pool(node: string): NodePool | null {
    return this.#pools.get(node) ?? null;
  }

  nodeCounters(node: string): NodeCounters {
    return nodeCounters(this.counters, node);
  }

  /** For an operator, who peeks. */
  balancer(together: boolean): Pick<Balancer, 'peek'> {
    return this.#balancing.balancer(together);
  }

  /** `shares`: it may be sent together with others. */
  decide(statement: StatementClass, view: SessionView, shares: boolean): Decision {
    // Where a session reads first it may have to stay while others write: that is spread one by one.
    const balancer = this.#balancing.balancer(shares && view.lastReplica !== null);
    return decide(statement, view, this.#snapshot, this.positions, balancer);
  }

  /** How long a read was at the head at this node; `usualMs`: what its kind takes, null: not known. */
  noteService(node: string, serviceMs: number, usualMs: number | null): void {
    this.#balancing.note(node, serviceMs, usualMs);
  }

  /** With what its server gives to it now. Never rejects. */
  async loginOf({ key, credential }: LoginRequest, asked: AskedStanding | null): Promise<Login> {
    this.logins.proved(key.user, credential);
    const standing = await this.standings.of(key.user, key.database, asked);
    return this.logins.intern(standing === undefined ? key : { ...key, standing }, credential);
  }

  borrow(key: PoolKey, credential: Credential, callback: LoginCallback): void {
    new Borrow(this, key, credential, callback);
  }

  reportFailure(node: string, error: Error): void {
    this.log.warn({ node, error: error.message }, 'a server connection failed');
    // Whatever ended that one has likely ended the idle ones too; a write on one of them would be of unknown outcome.
    this.#pools.get(node)?.closeIdle('another server connection to its node failed');
    this.#monitor.reportFailure(node, error);
  }

  /** For the reads of a session that may come. */
  requestPosition(afterMs: number): void {
    // A cluster without replicas has nowhere else to read.
    if (this.#config.nodes.length > 1 && this.#settings.consistency === 'session')
      this.#monitor.requestPosition(afterMs, this.#positionCame);
  }

  /** For a read that waits. */
  awaitPosition(afterMs: number): void {
    this.#monitor.requestPosition(afterMs, (position) => {
      if (position === null) this.waits.noPosition(afterMs);
      else this.#positionCame();
    });
  }

  readonly #positionCame = (): void => {
    if (this.waits.size > 0)
      this.waits.positionCame((afterMs) => this.samples.firstSampleAfter(afterMs) !== null);
  };

  /** A gate was answered: `have` is what the node has applied, `ageMs` how old what was asked for. */
  gateAnswered(node: string, have: Position | null, passed: boolean, ageMs: number): void {
    const now = monotonicMs();
    if (passed) this.gateOdds.passed(node, ageMs, now);
    else this.gateOdds.refused(node, ageMs, now);
    const next = have === null ? null : this.#applied.learn(this.#snapshot, node, have, now);
    if (next === null) return;
    this.#snapshot = next;
    this.waits.wake();
  }

  /** For what is called back to go on with somebody's unit. */
  turnOf(who: { terminate(error: ProxyError): void }, goOn: () => void): void {
    try {
      goOn();
    } catch (cause) {
      this.#broke(who, cause);
    }
  }

  /** The same, once this has come; what fails meanwhile is a bug as well. */
  turnAfter<T>(
    who: { terminate(error: ProxyError): void },
    awaited: Promise<T>,
    goOn: (value: T) => void,
  ): void {
    awaited.then(goOn).catch((cause: unknown) => this.#broke(who, cause));
  }

  /** What the primary has now, in the words of a store; null: it has not told it. */
  sharedPosition(callback: (position: SharedPosition | null) => void): void {
    this.positionAfter(monotonicMs(), (position) => {
      const { primary } = this.#snapshot;
      callback(position === null || primary === null ? null : { primary, text: position.text });
    });
  }

  /** Calls back within a bound; null: the primary has not told it. */
  positionAfter(afterMs: number, callback: (position: Position | null) => void): void {
    let isDone = false;
    let late: NodeJS.Timeout | null = null;
    const answer = (position: Position | null): void => {
      if (isDone) return;
      isDone = true;
      if (late !== null) clearTimeout(late);
      callback(position);
    };
    this.#monitor.requestPosition(afterMs, answer);
    if (!isDone) late = setTimeout(() => answer(null), this.#positionTimeoutMs);
  }

  get #positionTimeoutMs(): number {
    return (this.#config.redis?.leaseMs ?? POSITION_TIMEOUT_MS) / 10;
  }

  /** What others have written stands in many keys at a time. */
  parsePosition(text: string): Position {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    const position = this.positions.parse(text);
    this.#parsed.set(text, position);
    return position;
  }

  /** DDL has passed through: what was concluded from the catalog may be wrong until it has been read again. */
  schemaChanged(): void {
    this.#monitor.schemaChanged();
    this.forgetCatalog();
  }

  /** A statement of `session` is refused while anybody else is connected to this database. */
  leaveDatabase(database: string, session: Session): void {
    this.#monitor.leaveDatabase(database);
    this.leaveDatabaseHere(database, session);
  }

  /** The same, of another process. */
  leaveDatabaseHere(database: string, session: Session | null): void {
    leaveDatabase(this.sessions, this.#pools, database, session);
  }

  /** The same, elsewhere. */
  forgetCatalog(): void {
    this.standings.changed();
    this.protocol.forgetCatalog();
    this.#catalog.soon();
  }

  /** What this process may use of the limits has changed. */
  limitsChanged(node: string): void {
    const pool = this.#pools.get(node);
    if (pool !== undefined) pool.limits = this.#limitsOf(node);
  }

  /** Live settings and nodes; pools of nodes that are gone end with their units. */
  reconfigure(config: ClusterConfig): void {
    this.#config = config;
    this.#limits = poolLimits(config);
    this.#settings = settingsOf(config);
    this.#policies = this.#createPolicies();
    this.keyed.limits = keyedLimits(config);
    this.users.configure(config.users);
    this.protocol.reconfigure(config.routing, config.autoPrepare);
    this.#balancing.configure(config.routing);
    this.#openPools();
    this.hold.resumeAll();
  }

  /** A database is used whose catalog has not been read. */
  catalogWanted(): void {
    this.#catalog.soon();
  }

  close(error: ProxyError): void {
    this.#closed = true;
    this.#catalog.stop();
    for (const session of [...this.sessions]) session.terminate(error);
    for (const pool of this.#pools.values()) pool.close(error);
  }

  /** A user's password may have changed since the login of who needs a server connection. */
  readonly #connect: Connect = (request) =>
    this.protocol.connect({
      ...request,
      credential: this.logins.latestOf(request.key.user) ?? request.credential,
    });

  #createPolicies(): Policies {
    const test = boundedPatternTest((rule, givenUp) =>
      this.log.warn(
        { rule, givenUp },
        'the pattern of a rule takes too long on a shape: it counts as no match',
      ),
    );
    return new Policies(this.#config, test, (directives) =>
      this.log.debug({ directives }, 'a hint says what is not known; that part of it is ignored'),
    );
  }

  #openPools(): void {
    for (const node of this.#config.nodes) {
      const known = this.#pools.get(node.name);
      if (known?.isAt(node.host, node.port) === true) {
        known.limits = this.#limitsOf(node.name);
        continue;
      }
      known?.retire('its address has changed');
      const pool = new NodePool(node, this.#limitsOf(node.name), this.#connect, this.#broke);
      this.#pools.set(node.name, pool);
      this.#allowance?.adopt(node.name, pool);
    }
    for (const [name, pool] of this.#pools) {
      if (this.#config.nodes.some((node) => node.name === name)) continue;
      this.#pools.delete(name);
      this.counters.nodes.delete(name);
      pool.retire('its node is no longer configured');
    }
  }

  #limitsOf(node: string): PoolLimits {
    return this.#allowance?.limits(node, this.#limits) ?? this.#limits;
  }

  #onSnapshot(reported: ClusterSnapshot): void {
    if (this.#closed) return;
    const before = this.#snapshot;
    if (reported.epoch !== before.epoch) this.#applied.forgetAll();
    const snapshot = this.#applied.over(reported);
    this.#snapshot = snapshot;
    // A connection to a replaced primary that thaws would take writes that are lost: none may live on.
    const replaced = before.lastPrimary;
    const isReplaced = snapshot.primary !== null && snapshot.primary !== replaced;
    const isBeingReplaced = snapshot.phase === 'failing-over' && before.phase !== 'failing-over';
    if (replaced !== null && (isReplaced || isBeingReplaced))
      this.#pools.get(replaced)?.closeAll('its node is no longer the primary');
    for (const node of snapshot.nodes) {
      const last = before.nodes.find((each) => each.name === node.name);
      if (last?.backSinceMs !== node.backSinceMs) this.#balancing.wasAway(node.name);
      this.#heedMode(node, last?.mode, node.name === snapshot.primary);
      const wasUp = last?.health === 'up';
      if (wasUp && node.health !== 'up') this.#generations.set(node.name, this.generationOf(node.name) + 1);
      if (node.fenced) this.#pools.get(node.name)?.closeAll('its node is fenced');
      // Reads that hang in a frozen replica run elsewhere; a primary's units may still be answered.
      else if (node.health === 'down' && node.role === 'replica')
        this.#pools.get(node.name)?.closeAll('its node is down');
      else if (node.health === 'down') this.#pools.get(node.name)?.closeIdle('its node is down');
    }
    if (snapshot.primary !== null && snapshot.primary !== before.primary) this.#onNewPrimary(snapshot);
    this.#catalog.tick(monotonicMs());
    this.waits.wake();
    this.#resumeHeld(snapshot.primary !== before.primary || snapshot.epoch !== before.epoch);
  }

  /** What a node's mode means for the server connections that are there. */
  #heedMode({ name, mode }: NodeSnapshot, last: NodeSnapshot['mode'] | undefined, isPrimary: boolean): void {
    if (takesUnits(mode, isPrimary)) return;
    const reason = `its node is set to ${mode}`;
    if (mode === 'offline' && last !== 'offline') this.#pools.get(name)?.closeAll(reason);
    // Those that are in use come back by and by.
    else this.#pools.get(name)?.closeIdle(reason);
  }

  /** Every snapshot may be the one that was waited for; but a node that refuses is not asked again by all of them at once. */
  #resumeHeld(rolesChanged: boolean): void {
    const now = monotonicMs();
    if (this.hold.size === 0 || (!rolesChanged && now - this.#resumedAtMs < RESUME_INTERVAL_MS)) return;
    this.#resumedAtMs = now;
    this.hold.resumeAll();
  }

  #onNewPrimary(snapshot: ClusterSnapshot): void {
    const version = snapshot.nodes.find((node) => node.name === snapshot.primary)?.version;
    if (version != null) this.protocol.serverVersion = version;
    this.#catalog.soon();
  }
}

function poolLimits(config: ClusterConfig): PoolLimits {
  return { ...config.pool, sharing: config.sharing, maxByUser: limitsByUser(config) };
}

function keyedLimits({ consistency: { maxKeys, keyTtlMs } }: ClusterConfig): KeyedLimits {
  return { maxKeys, ttlMs: keyTtlMs };
}

function settingsOf(config: ClusterConfig): ClusterSettings {
  const { consistency, sharing } = config;
  const isBounded = consistency.level === 'bounded';
  return {
    consistency: consistency.level,
    maxLagMs: isBounded ? consistency.boundMs : consistency.maxLagMs,
    gate: consistency.gate,
    returnMs: consistency.returnMs,
    sharing,
  };
}
