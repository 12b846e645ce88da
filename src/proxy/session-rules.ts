// What holds for a unit by itself: whether it may run again, share a server connection, have committed; and how it is counted.
// It knows no state of a session.

import type { ConsistencyScope } from '../consistency/scope.js';
import { ProxyError } from '../lib/errors.js';
import type { ClientConnection } from '../protocol/client-connection.js';
import type { Credential } from '../protocol/credential.js';
import type { Position } from '../protocol/position.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { Answered, ServerError, TransactionStatus, Unit } from '../protocol/unit.js';
import { type Decision, isReplicaRead } from '../routing/decide.js';
import type { PolicyLayer, UnitPolicy } from '../routing/policy.js';
import { isChained, type PinReason } from '../sql/statement.js';
import { countOne, type ListenerCounters } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import { LastStatement } from './last-statement.js';
import { isLight } from './shape-costs.js';

export interface SessionListener {
  readonly name: string;
  readonly counters: ListenerCounters;
  /** What it says of all units of its clients; another object after a reload. */
  readonly layer: PolicyLayer;
  /** Null: as the cluster. */
  readonly scope: ConsistencyScope | null;
}

/** A read is run at most this often: once where it was sent first, then elsewhere. */
export const MAX_ATTEMPTS = 4;
export const NO_NODES: readonly string[] = [];
export const NO_CREDENTIAL: Credential = { kind: 'none' };

/** What the session has got before an error came: no rollback takes it back. */
export function outlivesErrors(pin: PinReason | null): boolean {
  return (
    pin === 'session-lock' || pin === 'sql-prepare' || pin === 'sequence-state' || pin === 'user-variable'
  );
}

/** What tells of one node is a read of that which somebody names, as fresh as any other; else the primary is meant. */
export function readWhereAsked(unit: Unit, { target, consistency }: UnitPolicy): void {
  if (unit.statement.tellsOfNode !== true || target === null) return;
  if (target.kind !== 'primary' && consistency !== 'primary') unit.becomeRead();
}

/** A program of the server's, which may have committed what it has left in the session before it failed. */
export function mayCommitInside({ statement: { verb } }: Unit): boolean {
  return verb === 'CALL' || verb === 'DO';
}

/** Only what writes nothing and leaves no state; whether a session may do it now is for the session to say. */
export function isRepeatable(unit: Unit): boolean {
  const { route, pin, transaction, statements, verb } = unit.statement;
  // SHOW goes to the primary and writes nothing; SHOW WARNINGS is about what was there. Without a statement (Close) nothing ran.
  const isHarmless =
    (verb === 'SHOW' && statements === 1 && !unit.asksLast) ||
    (statements === 0 && !unit.asksLast) ||
    route === 'replica' ||
    route === 'session' ||
    (transaction?.kind === 'begin' && statements === 1) ||
    (unit.startsTransaction && unit.onlyReads === true);
  return isHarmless && pin === null && !unit.open;
}

/** As of the last statement: what the unit asks about, if it is still on the primary. */
export function leftOn(client: ClientConnection, unit: Unit, cluster: ClusterRuntime): LastStatement | null {
  const server = client.leftOn?.(unit) ?? null;
  if (server === null || server.node !== cluster.snapshot.primary) return null;
  const last = new LastStatement();
  last.server = server;
  return last;
}

/** It may have shown, or changed, what is in the database. In a transaction SET may be what commits: autocommit=1. */
export function isSeen({ statement: { route } }: Unit, inTransaction: boolean): boolean {
  return route !== 'proxy' && (route !== 'session' || inTransaction);
}

/**
 * A read that ends by itself and soon may stand in a pipeline with others': how long it usually is at its head, in
 * milliseconds. Negative: it may not. `switched`: in place of the cluster's switch.
 */
export function sharedMs(unit: Unit, cluster: ClusterRuntime, switched: boolean | null): number {
  if (!unit.shareable) return -1;
  const { enabled, maxUsualMs } = cluster.settings.sharing;
  if (!(switched ?? enabled)) return -1;
  const record = cluster.statements.find(unit.shape);
  return isLight(record, maxUsualMs) ? record.costMs : -1;
}

/** With how many others it may leave as if they were one: only where each is over at once. `usualMs`: as `sharedMs`. */
export function maxGroup(usualMs: number, { settings }: ClusterRuntime): number {
  const { maxGroup, spreadMs } = settings.sharing;
  return usualMs >= 0 && usualMs < spreadMs ? maxGroup : 1;
}

/** For an operator: why `sharedMs` says no; null: it says yes. */
export function whyNotShared(unit: Unit, cluster: ClusterRuntime, switched: boolean | null): string | null {
  if (sharedMs(unit, cluster, switched) >= 0) return null;
  if (unit.statement.route !== 'replica') return 'only reads that a replica may take share';
  if (!unit.shareable)
    return 'it is more than a short read by itself (a pin, a transaction, its length, COPY ...)';
  const { enabled, maxUsualMs } = cluster.settings.sharing;
  if (!(switched ?? enabled)) return 'sharing is off for the rule, the user, the listener or the cluster';
  const usualMs = cluster.statements.find(unit.shape)?.costMs ?? -1;
  if (usualMs < 0) return 'what it costs is not known yet: the first of its shape run by themselves';
  if (usualMs > maxUsualMs)
    return `it takes ${usualMs.toFixed(1)} ms, more than maxUsualMs (${maxUsualMs} ms)`;
  return 'its replies are too large';
}

/** Its client is gone. An autocommitted write is left to end as it would have without us; anything else is stopped. */
export function endsByItself(unit: Unit, server: ServerConnection, transaction: TransactionStatus): boolean {
  const isInside = transaction !== 'idle' || unit.startsTransaction;
  // One that was never written, because something of ours has thrown, would never end.
  return server.depth > 0 && !isInside && !unit.open && !isReplicaRead(unit.statement);
}

/** What commits by the way, in MySQL: DDL, of accounts too, and the care of tables. */
const COMMITTING: ReadonlySet<string> = new Set(
  'CREATE ALTER DROP GRANT REVOKE RENAME TRUNCATE ANALYZE OPTIMIZE REPAIR CHECK CACHE FLUSH RESET'.split(' '),
);

function mayCommit({ statement: { ddl, verb }, shape }: Unit): boolean {
  return (ddl || COMMITTING.has(verb)) && !TEMPORARY.test(shape);
}

const TEMPORARY = /^(?:create|alter|drop)(?: or replace)? temporary\b/i;

/**
 * Lost with its answer, it has left nothing behind for certain: neither a COMMIT nor what commits by the way (DDL in
 * MySQL, a second transaction in the same text) was in it.
 */
export function surelyCommitsNothing(unit: Unit): boolean {
  const { transaction, statements, verb, route } = unit.statement;
  if (mayCommit(unit) || verb === 'UNKNOWN' || route === 'session') return false;
  if (transaction === null) return statements <= 1;
  return statements <= 1 && (transaction.kind === 'savepoint' || transaction.kind === 'rollback-to');
}

/**
 * The unit begins by ending the transaction that is open, and what follows may write: COMMIT; INSERT in one text, or, where a
 * BEGIN commits, that and DDL. Of a text that ends it further on nothing is known but that it is for where the transaction is.
 */
export function endsTransactionThenWrites(unit: Unit, beginCommits: boolean): boolean {
  const { verb, statements, transaction, route, pin } = unit.statement;
  // A preparation ends nothing.
  if (route !== 'primary' || unit.leavesLast) return false;
  if (transaction === null) return beginCommits && mayCommit(unit) && statements === 1 && pin === null;
  if (verb === 'BEGIN' || verb === 'START TRANSACTION') return beginCommits;
  // The one behind it is READ ONLY too.
  if (isChained(unit.statement)) return false;
  return statements > 1 && (verb === 'COMMIT' || verb === 'ROLLBACK') && transaction.kind !== 'rollback-to';
}

/** What the client is told of a unit whose answer was lost. `isRolledBack`: with a transaction that certainly left nothing. */
export function lossOf(unit: Unit, node: string, detail: string, isRolledBack: boolean): ProxyError {
  if (isRolledBack) return new ProxyError('transaction-lost', { node, detail });
  return new ProxyError(isReplicaRead(unit.statement) ? 'server-lost' : 'outcome-unknown', { node, detail });
}

export function holdReason(decision: Decision | null): 'no-primary' | 'no-target' {
  return decision?.kind === 'hold' && decision.reason === 'no-target' ? 'no-target' : 'no-primary';
}

export function heldTooLong(
  { name, snapshot }: ClusterRuntime,
  waitedMs: number,
  reason: 'no-primary' | 'no-target',
): ProxyError {
  const detail = `held for ${waitedMs} ms`;
  if (reason === 'no-primary')
    return new ProxyError('no-primary', { detail: `: ${detail}; ${snapshot.explanation}` });
  return new ProxyError('no-node', {
    cluster: name,
    detail: `${detail}; none where it is wanted may take it`,
  });
}

/** What a read has waited for so far; `in vain`: it waits no more; `gate-failed`: a replica turned out to be behind. */
export type Waited = 'position' | 'replica' | 'in vain' | 'gate-failed' | null;

/** Its reply is a count. */
const BLIND_WRITES: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'REPLACE']);

/**
 * What a unit on the primary has shown its session. `own-write`: what it wrote, whose position its reply told, and no
 * more; `nothing`: neither, or what it wrote is not committed yet, and the end of the transaction will tell.
 */
export function shownByPrimary(
  unit: Unit,
  outcome: Answered,
  wasInTransaction: boolean,
): 'nothing' | 'own-write' | 'anything' {
  const { statements, verb, transaction } = unit.statement;
  if (outcome.error !== null || statements !== 1 || unit.open) return 'anything';
  if (outcome.position !== null)
    return !outcome.returnedRows && (BLIND_WRITES.has(verb) || transaction?.kind === 'commit')
      ? 'own-write'
      : 'anything';
  if (outcome.transaction === 'idle') return 'anything';
  if (transaction?.kind === 'begin') return wasInTransaction ? 'anything' : 'nothing';
  return wasInTransaction && !outcome.returnedRows && BLIND_WRITES.has(verb) ? 'nothing' : 'anything';
}

/** `decision`: null where the session held its server connection already. One that is gated counts when it has passed. */
export function countRoute(
  cluster: ClusterRuntime,
  unit: Unit,
  node: string,
  decision: Decision | null,
  waited: Waited,
): void {
  const { route } = unit.statement;
  if (route !== 'proxy') cluster.nodeCounters(node).units[route]++;
  if (route !== 'replica') return;
  const reads = cluster.counters.reads;
  if (decision?.kind !== 'node') reads['in-transaction']++;
  else if (waited === 'gate-failed' && !decision.onReplica) reads['gate-failed']++;
  else if (decision.gate !== null) return;
  else if (decision.onReplica && waited !== null) reads.waited++;
  else if (
    decision.reason !== 'write' &&
    decision.reason !== 'session-state' &&
    decision.reason !== 'no-primary' &&
    decision.reason !== 'no-target'
  )
    reads[decision.reason]++;
}

/** The answer of a unit that was gated counts (`passed`), or does not. `have`: what the node had when it began, as far as it told. */
export function noteGate(
  cluster: ClusterRuntime,
  decision: Decision | null,
  have: Position | null,
  passed: boolean,
  waited: Waited,
): void {
  if (decision?.kind !== 'node' || decision.gate === null || (passed && have === null)) return;
  const { node, gate } = decision;
  if (passed) cluster.counters.reads[waited === null ? 'fresh-by-gate' : 'waited']++;
  else cluster.nodeCounters(node).retries['gate-failed']++;
  cluster.gateAnswered(node, have, passed, gate.ageMs);
}

/** The pool may have left the configuration meanwhile. */
export function discard(
  pool: { discard(server: ServerConnection, reason: string): void } | null,
  server: ServerConnection,
  reason: string,
): void {
  if (pool === null) server.close(reason);
  else pool.discard(server, reason);
}

export function counted(cluster: ClusterRuntime, error: ProxyError): ProxyError {
  countOne(cluster.counters.errors, error.code);
  return error;
}

/** Nobody else is on this shared connection any more, so that a cancel can hit nobody else; nor on one that a former pool had. */
export function isolate(
  pool: { isolate(server: ServerConnection): void } | null,
  server: ServerConnection,
): void {
  pool?.isolate(server);
  server.evacuate();
}

/**
 * Nobody waits for the head of this shared connection any more. What has been moved from behind it is at the node all the
 * same, which would not see that we have gone while it runs that: the pool cancels it in its turn, and closes then.
 */
export function giveUpHead(
  pool: Parameters<typeof isolate>[0] & Parameters<typeof discard>[0],
  server: ServerConnection,
): void {
  isolate(pool, server);
  void server.cancel().finally(() => {
    if (server.depth <= 1) discard(pool, server, 'a cancel was sent to it');
  });
}

export function pinnedStateLost(pins: readonly PinReason[], node: string, detail: string): ProxyError {
  return new ProxyError('pinned-state-lost', { reasons: pins.join(', '), node, detail });
}

export function logWithheld({ log }: ClusterRuntime, { node }: ServerConnection, error: ServerError): void {
  log.debug(
    { node, code: error.code, error: error.message },
    'a read is run again after an error that the client does not see',
  );
}

/** Where a read that was withheld is not tried again. */
export function excludedBehind(
  { snapshot }: ClusterRuntime,
  { node }: ServerConnection,
  retryOn: 'elsewhere' | 'primary',
  excluded: readonly string[],
): readonly string[] {
  return retryOn === 'primary' ? snapshot.nodes.map(({ name }) => name) : [...excluded, node];
}

/** No server connection could be had because of the node, whoever asks. */
export function isAboutNode({ code }: ProxyError): boolean {
  return code === 'connect-failed' || code === 'node-full';
}

/** A replica may not have an account yet, or its new password. */
export function mayConnectElsewhere(error: ProxyError): boolean {
  return isAboutNode(error) || error.isRefusedLogin;
}
