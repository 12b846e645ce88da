// One client's session: where its units run, which server connection it holds and why, what it has seen.
// It knows no bytes and no protocol; the client connection reads and writes, this decides, waits, runs again and gives back.

import { assert } from '../lib/assert.js';
import { ProxyError } from '../lib/errors.js';
import type { PoolWaiter } from '../pool/node-pool.js';
import type {
  ClientConnection,
  LoginCallback,
  LoginRequest,
  SessionHost,
  SessionLevel,
  UserLookup,
} from '../protocol/client-connection.js';
import type { Credential } from '../protocol/credential.js';
import type { Position } from '../protocol/position.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type {
  Answered,
  ExecuteOptions,
  Lost,
  Outcome,
  RuledStatement,
  TransactionStatus,
  Unit,
  Withheld,
} from '../protocol/unit.js';
import { type Decision, isReplicaRead } from '../routing/decide.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { Held } from './hold.js';
import type { Login } from './known-logins.js';
import { LastStatement } from './last-statement.js';
import { Pins } from './pins.js';
import type { ExplainedPolicy } from './policies.js';
import type { SessionFacts } from './session-facts.js';
import { mayMove, type Phase } from './session-phase.js';
import { SessionPolicy } from './session-policy.js';
import * as rules from './session-rules.js';
import { type PeekedView, SessionSight } from './session-sight.js';
import type { AskedStanding } from './standings.js';
import { Tenure } from './tenure.js';
import { UnitDelay } from './unit-delay.js';

export class Session implements SessionHost, PoolWaiter, Held {
  readonly #cluster: ClusterRuntime;
  readonly #listener: rules.SessionListener;
  readonly #client: ClientConnection;
  readonly #sight: SessionSight;
  readonly #policies: SessionPolicy;
  #phase: Phase = 'login';
  /** Null before it has logged in. */
  key: PoolKey | null = null;
  #credential: Credential = rules.NO_CREDENTIAL;
  #asked: AskedStanding | null = null;

  readonly #tenure: Tenure;
  /** Its node was chosen as a replica. */
  #onReplica = false;
  #transaction: TransactionStatus = 'idle';
  readonly pins: Pins;
  readonly #last = new LastStatement();
  readonly leavesAsked: boolean;

  #unit: Unit | null = null;
  /** How the unit was given to the client connection. */
  #running: ExecuteOptions | null = null;
  #decision: Decision | null = null;
  #attempts = 0;
  #excluded: readonly string[] = rules.NO_NODES;
  readonly #delay: UnitDelay;
  /** The node of which a server connection is awaited. */
  #waitingFor: string | null = null;
  /** The promotions counted when the unit was given its place. */
  #decidedEpoch = 0;
  /** The schema changes when the open transaction commits. */
  #sawDdl = false;

  /** `address`: of the client. */
  constructor(
    cluster: ClusterRuntime,
    listener: rules.SessionListener,
    client: ClientConnection,
    address: string,
  ) {
    this.#cluster = cluster;
    this.#listener = listener;
    this.#client = client;
    this.leavesAsked = client.mayAskBack;
    this.#sight = new SessionSight(cluster);
    this.#policies = new SessionPolicy(cluster, listener, address, this);
    this.#tenure = new Tenure(cluster);
    this.#delay = new UnitDelay(cluster);
    this.pins = new Pins(cluster);
    cluster.sessions.add(this);
  }

  get server(): ServerConnection | null {
    return this.#tenure.server;
  }

  /** Nothing runs, waits or is open: it may be told to go. */
  get isIdle(): boolean {
    if (this.#phase === 'login') return true;
    return this.#phase === 'idle' && this.#transaction === 'idle' && !this.#client.isInTransaction;
  }

  /** Null before it has logged in. */
  get facts(): SessionFacts | null {
    if (this.key === null || this.#phase === 'closed') return null;
    const { server, isShared } = this.#tenure;
    const isHeld = server !== null && !this.#isOutside;
    return {
      key: this.key,
      application: this.#policies.facts.application,
      listener: this.#listener,
      client: this.#client,
      phase: this.#phase,
      transaction: this.#transaction,
      pins: this.pins.reasons,
      unit: this.#unit,
      server,
      isShared,
      held: isHeld ? { node: server.node, onReplica: this.#onReplica } : null,
    };
  }

  peekPolicy(unit: Unit): ExplainedPolicy {
    return this.#policies.peek(unit);
  }

  /** What a decision about this unit would be made on. */
  peekViewFor(unit: Unit): PeekedView {
    return this.#sight.peekFor(this.#policies.peek(unit).policy, this.#transaction !== 'idle');
  }

  /** Keeps what it may be asked about only once for all sessions: clients of one application often end with the same read. */
  letGo(held: Map<string, string>): void {
    this.#last.read?.holdOnce?.(held);
  }

  denial(ruled: readonly RuledStatement[]): ProxyError | null {
    return this.#policies.denialOf(ruled);
  }

  get autoPrepareThreshold(): number {
    return this.#policies.autoPrepareThreshold;
  }

  /** The drain, or an operator, ends the client connection. */
  terminate(error: ProxyError): void {
    this.#client.terminate(error);
  }

  lookUpUser(user: string, database: string): Promise<UserLookup> {
    this.#asked = this.#cluster.standings.ask(user, database);
    return this.#cluster.users.lookUp(user);
  }

  loginFailed(): void {
    this.#listener.counters.loginFailures++;
  }

  login(request: LoginRequest, callback: LoginCallback): void {
    const loggedIn = ({ key, credential }: Login): void => {
      if (this.#phase === 'closed') return;
      // MySQL: COM_CHANGE_USER logs the same client in again.
      if (this.key === null) this.#cluster.counters.clients++;
      this.key = key;
      this.#credential = credential;
      this.#policies.loggedIn(key, request.applicationName);
      this.#sight.loggedIn(this.#listener.scope, { ...key, attributes: request.attributes });
      this.#cluster.borrow(key, credential, (loan, error) => {
        if (this.#phase === 'closed') return loan?.release();
        if (loan !== null) this.#transition('idle');
        callback(loan, error);
      });
    };
    this.#cluster.turnAfter(this, this.#cluster.loginOf(request, this.#asked), loggedIn);
    this.#asked = null;
  }

  // --- a unit's life ----------------------------------------------------------------------------------------

  submit(unit: Unit): void {
    assert(this.#phase === 'idle', `a unit came while the session was ${this.#phase}`);
    this.#unit = unit;
    this.#policies.begin(unit);
    this.#attempts = 0;
    this.#excluded = rules.NO_NODES;
    this.#delay.begin();
    this.#sight.begins(this.#policies.current, this.#transaction !== 'idle');
    const { denial } = this.#policies;
    if (denial === null) this.#place(unit);
    else this.#deny(unit, denial);
  }

  #deny(unit: Unit, denial: ProxyError): void {
    this.#policies.log(unit.shape, null);
    this.#transition('running');
    const { server } = this.#tenure;
    if (server === null || this.#transaction === 'idle') {
      this.#fail(unit, denial, 'idle');
      return;
    }
    const options = this.#options(unit, rules.counted(this.#cluster, denial), null);
    this.#client.execute(unit, server, options, (outcome) => this.#onOutcome(unit, server, outcome));
  }

  /** Finds a node and a server connection, or waits for one of the two. */
  #place(unit: Unit): void {
    const { late } = this.#policies;
    if (late !== null) {
      this.#fail(unit, late, 'idle');
      return;
    }
    this.#leaveReplicaFor(unit);
    const held = this.#tenure.server;
    if (held !== null) {
      if (this.#onReplica && this.#mayNotRunOnReplica(unit, held)) return;
      this.#run(unit, held);
      return;
    }
    const read = this.#last.repeatedFor(unit) ?? unit;
    if (this.#sight.awaitsFloor(read, this.#policies.current, this, unit)) {
      this.#transition('waiting');
      return;
    }
    const sharedMs = this.#sharedMs(unit);
    const shares = sharedMs >= 0;
    const mayGate = read === unit && rules.isRepeatable(unit) && this.#attempts + 1 < rules.MAX_ATTEMPTS;
    const view = this.#sight.viewFor(this.#policies.current, this.#excluded, mayGate, this.#delay.mayWait);
    // What is kept of the answer (GET DIAGNOSTICS @a = ...) is kept on the primary; the read is repeated there.
    const { pin } = unit.statement;
    const decision = this.#cluster.decide((pin === null ? read : unit).statement, view, shares);
    this.#decision = decision;
    this.#decidedEpoch = this.#cluster.snapshot.epoch;
    if (decision.kind !== 'node') {
      if (decision.kind === 'wait') this.#await(decision.for);
      else this.#hold();
      return;
    }
    // COMMIT where nothing is open is about no last statement; with AND CHAIN a replica would keep what comes next.
    const isHere = pin === null || this.#last.server?.node === this.#cluster.snapshot.primary;
    const isAboutLast = unit.statement.route === 'last' && unit.statement.transaction === null && isHere;
    const left = isAboutLast ? this.#last : rules.leftOn(this.#client, unit, this.#cluster);
    const previous = left?.takeBack(this.#cluster, this) ?? null;
    if (previous !== null) {
      this.#tenure.take(previous);
      this.#onReplica = this.#cluster.snapshot.primary !== previous.node;
      this.#run(unit, previous);
      return;
    }
    if (unit.asksLast && read === unit && this.#last.isGone) {
      // An answer about somebody else's statement would be worse than none.
      this.#transition('running');
      this.#fail(unit, new ProxyError('last-statement-gone'), 'idle');
      return;
    }
    this.#onReplica = decision.onReplica;
    const pool = this.#cluster.pool(decision.node);
    if (pool === null) {
      this.#hold();
      return;
    }
    const { stateDigest } = this.#client;
    const shared = shares ? pool.share(this.key!, this.#credential, stateDigest, sharedMs) : null;
    if (shared !== null) {
      this.#runShared(unit, shared, sharedMs);
      return;
    }
    const server = pool.acquire(this.key!, this.#credential, stateDigest, this);
    if (server === null) {
      this.#waitingFor = decision.node;
      this.#transition('waiting');
      return;
    }
    this.#tenure.take(server);
    this.#run(unit, server);
  }

  floorKnown(unit: Unit): void {
    if (this.#phase === 'waiting' && this.#unit === unit) this.#place(unit);
  }

  /** A READ ONLY transaction has nothing to commit: where the unit ends it and then may write, the replica is left first. */
  #leaveReplicaFor(unit: Unit): void {
    if (this.#transaction === 'idle' || !this.#onReplica || this.#tenure.server === null) return;
    if (!rules.endsTransactionThenWrites(unit, this.#cluster.protocol.beginCommits)) return;
    this.#transaction = 'idle';
    this.#tenure.discard('its READ ONLY transaction has ended');
  }

  /** What would keep the session on a replica, or finds it kept there: it could never write again. */
  #mayNotRunOnReplica(unit: Unit, server: ServerConnection): boolean {
    const { pin } = unit.statement;
    if (pin !== null) {
      const feature = `what keeps a server connection (${pin}) in a READ ONLY transaction`;
      this.#transaction = 'idle';
      this.#tenure.discard('its transaction was given up');
      this.#fail(unit, new ProxyError('unsupported-feature', { feature }), 'failed');
      return true;
    }
    if (this.#transaction !== 'idle' || isReplicaRead(unit.statement)) return false;
    const error = rules.pinnedStateLost(this.pins.reasons, server.node, 'it is a replica');
    this.#endUnit();
    this.#client.terminate(rules.counted(this.#cluster, error));
    return true;
  }

  #runShared(unit: Unit, server: ServerConnection, usualMs: number): void {
    this.#tenure.join(server);
    this.#run(unit, server, usualMs);
    this.#cluster.pool(server.node)?.queued(server, usualMs);
  }

  get sharedMs(): number {
    return this.#phase === 'waiting' ? this.#sharedMs(this.#unit!) : -1;
  }

  grantedShared(server: ServerConnection): void {
    this.#waitingFor = null;
    if (this.#phase !== 'waiting') return;
    if (this.#rolesChanged(server) || !server.acceptsMore) this.#place(this.#unit!);
    else this.#runShared(this.#unit!, server, this.sharedMs);
  }

  #sharedMs(unit: Unit): number {
    if (this.#attempts > 0 || this.#client.asksBack) return -1;
    return rules.sharedMs(unit, this.#cluster, this.#policies.current.sharing);
  }

  /** A read that can be repeated, and is no more likely than another to be asked about, needs nothing to be left alone. */
  get asksBack(): boolean {
    const mayAsk = this.#client.asksBack || (this.leavesAsked && this.#last.read?.shareable !== true);
    return mayAsk && this.#phase !== 'closed';
  }

  granted(server: ServerConnection): void {
    this.#waitingFor = null;
    if (this.#phase !== 'waiting') {
      this.#cluster.pool(server.node)?.release(server, 'its client is gone');
      return;
    }
    if (this.#rolesChanged(server)) {
      // It waited while roles changed: what was the primary then may not be written to now.
      this.#cluster.pool(server.node)?.release(server, 'roles have changed');
      this.#place(this.#unit!);
      return;
    }
    this.#tenure.take(server);
    this.#run(this.#unit!, server);
  }

  #rolesChanged(server: ServerConnection): boolean {
    const { epoch, primary } = this.#cluster.snapshot;
    if (!this.#cluster.takesUnits(server.node)) return true;
    return epoch !== this.#decidedEpoch || (!this.#onReplica && primary !== server.node);
  }

  refused(error: ProxyError): void {
    const node = this.#waitingFor;
    this.#waitingFor = null;
    if (this.#phase !== 'waiting' || node === null) return;
    const unit = this.#unit!;
    if (error.code === 'connect-failed') this.#cluster.reportFailure(node, error);
    // Nothing was sent: any unit may be placed again, a read elsewhere, a write when there is a primary.
    const mayMove = rules.mayConnectElsewhere(error) && this.#attempts < rules.MAX_ATTEMPTS;
    if (mayMove && isReplicaRead(unit.statement) && this.#onReplica) {
      this.#attempts++;
      this.#excluded = [...this.#excluded, node];
      this.#place(unit);
    } else if (rules.isAboutNode(error)) this.#hold();
    else this.#fail(unit, error, 'idle');
  }

  /** `usualMs`: what such a unit takes, where it goes among others; negative: it has the connection to itself. */
  #run(unit: Unit, server: ServerConnection, usualMs = -1): void {
    this.#transition('running');
    this.#attempts++;
    if (unit.statement.empties !== undefined) this.#cluster.leaveDatabase(unit.statement.empties, this);
    const ownDecision = this.#isOutside ? this.#decision : null;
    rules.countRoute(this.#cluster, unit, server.node, ownDecision, this.#delay.waited);
    if (this.#attempts === 1) this.#policies.log(unit.shape, server.node);
    this.#running = this.#options(unit, null, ownDecision, usualMs);
    this.#client.execute(unit, server, this.#running, (outcome) => this.#onOutcome(unit, server, outcome));
  }

  #options(
    unit: Unit,
    denial: ProxyError | null,
    ownDecision: Decision | null,
    usualMs = -1,
  ): ExecuteOptions {
    return {
      withholdRetryable: denial === null && this.#mayRunAgain(unit) && this.#attempts < rules.MAX_ATTEMPTS,
      onReplica: this.#onReplica,
      isShared: this.#tenure.isShared,
      maxGroup: rules.maxGroup(usualMs, this.#cluster),
      holdReply: denial === null && this.#mustSettle(unit, this.#transaction !== 'idle'),
      gate: ownDecision?.kind === 'node' ? (ownDecision.gate?.want ?? null) : null,
      after: this.#last.repeatedFor(unit),
      autoPrepare: this.#policies.current.autoPrepare,
      denial,
      late: null,
    };
  }

  #mayRunAgain(unit: Unit): boolean {
    return this.#isOutside && (rules.isRepeatable(unit) || this.#last.repeatedFor(unit) !== null);
  }

  get #isOutside(): boolean {
    return this.#transaction === 'idle' && !this.pins.any;
  }

  #onOutcome(unit: Unit, server: ServerConnection, outcome: Outcome): void {
    if (this.#phase === 'closed') {
      this.#tenure.giveBackAfterClient(server, this.pins.any);
      return;
    }
    assert(
      this.#phase === 'running' && this.#tenure.server === server,
      'an outcome came for a unit that does not run',
    );
    switch (outcome.kind) {
      case 'answered':
        this.#delay.answered(unit, server.node, this.#onReplica, outcome);
        rules.noteGate(this.#cluster, this.#decision, outcome.gatedAt, true, this.#delay.waited);
        this.#onAnswered(unit, server, outcome);
        return;
      case 'refused':
        this.#onRefused(unit, server, outcome.have);
        return;
      case 'moved':
        this.#tenure.leave();
        // Beside others it would meet the same again, or be the one that they meet.
        if (outcome.because === 'slow-head') this.#attempts--;
        this.#cluster.nodeCounters(server.node).retries[outcome.because]++;
        this.#place(unit);
        return;
      case 'withheld':
        this.#onWithheld(unit, server, outcome);
        return;
      case 'lost':
        this.#onLost(unit, server, outcome);
    }
  }

  #onAnswered(unit: Unit, server: ServerConnection, outcome: Answered): void {
    const { transaction, error } = outcome;
    const wasInTransaction = this.#transaction !== 'idle' || unit.startsTransaction;
    this.#transaction = transaction;
    const pin = this.#policies.current.deny === null ? unit.statement.pin : null;
    // A statement that failed by itself outside a transaction has left nothing behind.
    const leftNothing =
      error !== null &&
      transaction === 'idle' &&
      unit.statement.statements <= 1 &&
      !rules.mayCommitInside(unit) &&
      !rules.outlivesErrors(pin);
    if (pin !== null && !leftNothing) this.pins.add(pin, unit.pinsOnce === true);
    this.#sight.used(unit, outcome, this.#onReplica ? server.node : null, wasInTransaction);
    if ((unit.statement.ddl || unit.statement.changesLogins === true) && pin !== 'temporary-table')
      this.#sawDdl = true;
    if (this.#sawDdl && transaction === 'idle') {
      this.#sawDdl = false;
      this.#cluster.schemaChanged();
    }
    const isFree = this.#isOutside;
    // Where nobody can ask about it, an idle client need not keep its last text in memory.
    this.#last.ran(unit, this.leavesAsked && isFree && unit.leavesAgain === true);
    if (isFree) this.#tenure.giveBack(server, this.#last, this.#unit);
    this.#endUnit();
    this.#transition(this.#mustSettle(unit, wasInTransaction) ? 'settling' : 'idle');
    this.#conclude();
  }

  /** The replica had not what the session needs: the read waits for one that has, or goes to the primary. */
  #onRefused(unit: Unit, server: ServerConnection, have: Position | null): void {
    rules.noteGate(this.#cluster, this.#decision, have, false, this.#delay.waited);
    if (this.#tenure.setAside(server)) this.#fail(unit, new ProxyError('cancelled'), 'idle');
    else if (this.#sight.mayAwaitReplica && !this.#cluster.waits.isFull) {
      this.#attempts--;
      this.#await('replica');
    } else {
      this.#delay.waited = 'gate-failed';
      this.#excluded = this.#cluster.snapshot.nodes.map((node) => node.name);
      this.#place(unit);
    }
  }

  #onWithheld(unit: Unit, server: ServerConnection, { error, retryOn }: Withheld): void {
    rules.logWithheld(this.#cluster, server, error);
    this.#tenure.giveBack(server, this.#last, this.#unit);
    this.#excluded = rules.excludedBehind(this.#cluster, server, retryOn, this.#excluded);
    this.#cluster.nodeCounters(server.node).retries['server-lost']++;
    this.#place(unit);
  }

  #onLost(unit: Unit, server: ServerConnection, { reason, forwarded, unsent }: Lost): void {
    const node = server.node;
    this.#cluster.reportFailure(node, new Error(reason));
    this.#cluster.pool(node)?.discard(server, reason);
    this.#tenure.leave();
    const wasInTransaction = this.#transaction !== 'idle' || unit.startsTransaction;
    const isHarmless = unsent === true ? this.#isOutside : this.#mayRunAgain(unit);
    const mayRunAgain = isHarmless && !forwarded && this.#attempts < rules.MAX_ATTEMPTS;
    const hadPins = this.pins.lose();
    this.#transaction = 'idle';
    if (mayRunAgain) {
      this.#excluded = [...this.#excluded, node];
      this.#cluster.nodeCounters(node).retries['server-lost']++;
      this.#place(unit);
      return;
    }
    // A write of unknown outcome: whatever the primary has from now on must be seen.
    if (!this.#onReplica) this.#sight.ranOnPrimary(false);
    if (hadPins.length > 0) {
      const error = rules.pinnedStateLost(hadPins, node, reason);
      this.#endUnit();
      this.#client.terminate(rules.counted(this.#cluster, error));
      return;
    }
    if (this.#onReplica && forwarded) this.#sight.ranOnReplica(node);
    const isRolledBack = wasInTransaction && (this.#onReplica || rules.surelyCommitsNothing(unit));
    this.#fail(unit, rules.lossOf(unit, node, reason, isRolledBack), isRolledBack ? 'failed' : 'idle');
  }

  #fail(unit: Unit, error: ProxyError, state: TransactionStatus): void {
    const transaction = unit.startsTransaction && error.code !== 'outcome-unknown' ? 'failed' : state;
    this.#delay.failed(unit, this.#phase);
    // A part of its reply may be there, or what it has written.
    const mustSettle = this.#phase === 'running' && this.#mustSettle(unit, true);
    this.#transition(mustSettle ? 'settling' : 'idle');
    this.#endUnit();
    if (!unit.asksLast) this.#last.lost();
    this.#client.fail(unit, rules.counted(this.#cluster, error), transaction);
    this.#conclude();
  }

  #endUnit(): void {
    this.#tenure.unitEnded();
    this.#unit = null;
    this.#running = null;
    this.#decision = null;
    this.#policies.ended();
  }

  /** Others must know what it has shown before its client does. */
  #mustSettle(unit: Unit, inTransaction: boolean): boolean {
    return this.#sight.holdsReply && rules.isSeen(unit, inTransaction);
  }

  /** The unit has its answer; the client may have it too, now or once others know. */
  #conclude(): void {
    if (this.#phase !== 'settling') {
      if (this.#phase === 'idle') this.#rest();
      return;
    }
    this.#sight.settle(this, () => {
      if (this.#phase !== 'settling') return;
      this.#transition('idle');
      this.#rest();
    });
  }

  #rest(): void {
    const server = this.#tenure.server;
    if (server !== null && this.pins.any)
      this.pins.ask(this.#client, server, this.#transaction !== 'idle', () => this.#freed(server));
    this.#tenure.next(this.#client);
  }

  /** Else with the end of what it runs now, or of its transaction. */
  #freed(server: ServerConnection): void {
    if (this.#phase !== 'idle' || this.#transaction !== 'idle' || this.#tenure.server !== server) return;
    this.#tenure.giveBack(server, this.#last, null);
    // What may be asked about the last statement is there, as before.
    this.#last.server = server;
  }

  // --- holding ----------------------------------------------------------------------------------------------

  #hold(): void {
    this.#transition('held');
    this.#delay.hold(this, this.#decision);
  }

  /** A read that may find a replica soon. */
  #await(what: 'position' | 'replica'): void {
    this.#transition('held');
    this.#delay.await(this, what, this.#sight);
  }

  /** A new snapshot: try again. */
  resume(): void {
    if (this.#phase !== 'held') return;
    this.#delay.resumed();
    this.#excluded = rules.NO_NODES;
    this.#place(this.#unit!);
  }

  expired(): void {
    if (this.#phase !== 'held' || this.#unit === null) return;
    const error = this.#delay.expired(this.#decision);
    if (error === null) this.#place(this.#unit);
    else this.#fail(this.#unit, error, 'idle');
  }

  movedTo(database: string): void {
    this.key = this.#cluster.logins.intern({ ...this.key!, database }, this.#credential).key;
  }

  get level(): SessionLevel {
    return this.#policies;
  }

  answeredLocally(): void {
    this.#cluster.counters.unitsOwn++;
  }

  cancelRunning(): Promise<void> | null {
    return this.#stop(new ProxyError('cancelled'), null);
  }

  /** The unit's time is over. */
  deadlinePassed(): void {
    const late = this.#policies.passed();
    void this.#stop(late, late);
  }

  /** `late`: in place of what the node says when it is asked to cancel. */
  #stop(error: ProxyError, late: ProxyError | null): Promise<void> | null {
    if (this.#phase === 'running' && this.#tenure.server !== null) {
      if (this.#running !== null) this.#running.late ??= late;
      const cancelling = this.#tenure.stop(this.#client);
      if (cancelling !== null) return cancelling;
    } else if (this.#phase === 'waiting' || this.#phase === 'held') this.#withdraw();
    else return null;
    this.#fail(this.#unit!, error, 'idle');
    return null;
  }

  /** The server connection ended while no unit ran on it. */
  lost(server: ServerConnection, reason: string): void {
    if (this.#tenure.server !== server || this.#phase === 'running') return;
    this.#tenure.leave();
    this.#cluster.reportFailure(server.node, new Error(reason));
    if (this.#phase === 'closed') return;
    const hadPins = this.pins.lose();
    const lostTransaction = this.#transaction !== 'idle';
    this.#transaction = 'idle';
    // A write of unknown outcome: whatever the primary has from now on must be seen.
    if (!this.#onReplica) this.#sight.ranOnPrimary(false);
    if (hadPins.length > 0) {
      this.#client.terminate(
        rules.counted(this.#cluster, rules.pinnedStateLost(hadPins, server.node, reason)),
      );
    } else if (lostTransaction) {
      const error = new ProxyError('transaction-lost', { node: server.node, detail: reason });
      this.#client.transactionLost(rules.counted(this.#cluster, error));
    }
  }

  clientClosed(reason: string): void {
    if (this.#phase === 'closed') return;
    const phase = this.#phase;
    this.#withdraw();
    this.#policies.ended();
    this.#transition('closed');
    this.#cluster.sessions.delete(this);
    if (this.key !== null) this.#cluster.counters.clients--;
    this.pins.leave();
    const server = this.#tenure.server;
    this.#sight.close(phase === 'running' ? server : null, this.#onReplica);
    if (server === null) return;
    if (phase !== 'running') {
      this.#tenure.giveBackAfterClient(server, this.pins.any);
      return;
    }
    if (this.#tenure.isShared) {
      this.#tenure.abandonShared(this.#client);
      return;
    }
    if (rules.endsByItself(this.#unit!, server, this.#transaction)) return;
    this.#tenure.cancelAndDiscard(`its client is gone: ${reason}`);
  }

  #withdraw(): void {
    if (this.#waitingFor !== null) this.#cluster.pool(this.#waitingFor)?.withdraw(this);
    this.#waitingFor = null;
    this.#delay.withdraw(this);
  }

  #transition(to: Phase): void {
    assert(mayMove(this.#phase, to), `a session cannot go from ${this.#phase} to ${to}`);
    this.#delay.moves(this.#phase, to);
    this.#phase = to;
  }
}
