// For an operator: what a text would be and where it would go now, of somebody or of a live session, with every reason.
// It runs nothing and changes nothing: not the turn of a balancing policy, not what a session has seen.

import type {
  ExplainedNode,
  ExplainReport,
  ExplainRequest,
  SessionReport,
  SessionsReport,
  Unanswerable,
} from '../admin/explain.js';
import { byActivity } from '../admin/explain.js';
import type { NodeSnapshot } from '../cluster/snapshot.js';
import type { Inspection } from '../protocol/inspection.js';
import type { Unit } from '../protocol/unit.js';
import type { Balancer } from '../routing/balance.js';
import { type Decision, decide, isReplicaRead, passedOver, type SessionView } from '../routing/decide.js';
import { takesUnits } from '../routing/node-mode.js';
import { NO_LAYER, type UnitPolicy } from '../routing/policy.js';
import type { Route, StatementClass } from '../sql/statement.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { ExplainedPolicy } from './policies.js';
import type { Session } from './session.js';
import type { SessionFacts } from './session-facts.js';
import { readWhereAsked, whyNotShared } from './session-rules.js';
import { type PeekedView, SessionSight } from './session-sight.js';

/** Of a list. */
const MAX_SHAPE = 200;
const NO_NODES: readonly string[] = [];

const ROUTE_MEANS: Readonly<Record<Route, string>> = {
  replica: 'a pure read: any node that is fresh enough',
  primary: 'only the primary',
  last: 'where the last statement of its session ran',
  session: 'it changes session state that is tracked: any node will do, the primary by preference',
  proxy: 'the proxy answers it by itself',
};

/** By what a decision calls its reason; what is missing here speaks for itself. */
const WHY: Readonly<Record<string, string>> = {
  write: 'it is not a read that a replica may take',
  'session-state': 'it only changes what the session is',
  'no-primary': 'there is no primary that takes units now: it would be held',
  'primary-asked': 'reads are not split, the level asks for the primary, or no replica can serve the session',
  'no-replica': 'no replica takes reads',
  'replicas-lag': 'the replicas lag too much',
  'watermark-unknown': 'what the session wrote or saw is not known as a position yet',
  'replicas-behind-watermark': 'no replica surely has what the session wrote or saw',
  'no-watermark': 'the session has nothing that a replica could lack',
  'fresh-by-probe': 'the last probe shows that it has what the session wrote and saw',
};

export interface ExplainLimits {
  readonly maxStatementBytesClassified: number;
}

export function explainOn(
  cluster: ClusterRuntime,
  request: ExplainRequest,
  limits: ExplainLimits,
): ExplainReport | Unanswerable {
  const sql = Buffer.from(request.sql, 'utf8');
  if (request.session === null) return explainForNobody(cluster, request, sql, limits);
  for (const session of cluster.sessions) {
    const facts = session.facts;
    if (facts !== null && facts.client.facts.id === request.session)
      return explainForSession(cluster, session, facts, sql);
  }
  return { problem: `cluster ${cluster.name} has no session ${request.session} that is logged in` };
}

function explainForNobody(
  cluster: ClusterRuntime,
  request: ExplainRequest,
  sql: Buffer,
  limits: ExplainLimits,
): ExplainReport {
  const { database } = request;
  const inspection = cluster.protocol.inspect(sql, { ...limits, database, hints: true });
  const user = request.user ?? '';
  const login = { user, database: database ?? '', application: request.application ?? '', clientAddress: '' };
  const explained = cluster.policies.explain(NO_LAYER, login, inspection.unit);
  const { policy } = explained;
  readWhereAsked(inspection.unit, policy);
  const seen = newcomersView(cluster, request, policy);
  return {
    ...reportOf(cluster, inspection, explained, seen, null),
    session: null,
    user,
    database: database ?? '',
    application: request.application ?? '',
    sharing: sharingOf(inspection.unit, cluster, policy.sharing, null),
  };
}

/** Of a client that has just logged in; it may have a key that others have used. */
function newcomersView(
  cluster: ClusterRuntime,
  { user, database }: ExplainRequest,
  policy: UnitPolicy,
): PeekedView {
  const { scope } = cluster.config.consistency;
  const hasKey = scope === 'user' ? user !== null : scope === 'database' && database !== null;
  if (hasKey || policy.sessionKey !== null) {
    const sight = new SessionSight(cluster);
    sight.loggedIn(null, { user: user ?? '', database: database ?? '', attributes: new Map() });
    return sight.peekFor(policy, false);
  }
  const { consistency, maxLagMs, splitReads, target, fallback } = policy;
  const view = {
    ...{ consistency, maxLagMs, splitReads, target, fallback },
    watermark: null,
    watermarkPending: false,
    lastReplica: null,
    moveFloor: null,
    excluded: NO_NODES,
    effort: null,
  };
  return { view, key: null };
}

function explainForSession(
  cluster: ClusterRuntime,
  session: Session,
  facts: SessionFacts,
  sql: Buffer,
): ExplainReport {
  const inspection = facts.client.inspect(sql);
  const explained = session.peekPolicy(inspection.unit);
  const seen = session.peekViewFor(inspection.unit);
  const { settings, tracked } = facts.client.facts;
  const { user, database } = facts.key;
  return {
    ...reportOf(cluster, inspection, explained, seen, facts),
    session: { ...sessionReport(cluster, facts), settings, tracked },
    ...{ user, database, application: facts.application },
    sharing: sharingOf(inspection.unit, cluster, explained.policy.sharing, facts),
  };
}

function reportOf(
  cluster: ClusterRuntime,
  inspection: Inspection,
  { policy, rules, unread }: ExplainedPolicy,
  { view, key }: PeekedView,
  facts: SessionFacts | null,
): Omit<ExplainReport, 'session' | 'user' | 'database' | 'application' | 'sharing'> {
  const { unit, autoPrepare } = inspection;
  const { statement } = unit;
  const { decision, chosen } =
    policy.deny === null ? decisionOf(cluster, unit, view, facts) : denied(policy.deny, policy.rule);
  const notes = [...inspection.notes];
  for (const directive of unread) notes.push(`the hint's "${directive}" cannot be read, and is ignored`);
  if (facts !== null && facts.phase !== 'idle')
    notes.push('the session is at work: what it has seen, and holds, may be other things when it is done');
  if (key !== null && cluster.store !== null && isReplicaRead(statement))
    notes.push('what other processes have let the key see is asked for when it runs; in doubt, the primary');
  return {
    cluster: cluster.name,
    protocol: cluster.config.protocol,
    shape: unit.shape,
    hint: unit.hint === null ? null : Object.fromEntries(unit.hint),
    verb: statement.verb,
    statements: statement.statements,
    route: statement.route,
    routeMeans: ROUTE_MEANS[statement.route],
    reasons: statement.reasons,
    pin: statement.pin,
    transaction: transactionText(statement),
    ddl: statement.ddl,
    rule: policy.rule,
    rules,
    consistency: {
      level: view.consistency,
      key,
      maxLagMs: view.maxLagMs,
      splitReads: view.splitReads,
      watermark: view.watermark?.text ?? null,
      watermarkPending: view.watermarkPending,
      lastReplica: view.lastReplica,
      moveFloor: typeof view.moveFloor === 'string' ? view.moveFloor : (view.moveFloor?.text ?? null),
    },
    decision,
    balance: cluster.config.routing.balance,
    nodes: cluster.snapshot.nodes.map((node) =>
      explainNode(cluster, node, statement, view, decision, chosen),
    ),
    autoPrepare,
    notes,
  };
}

function transactionText({ transaction }: StatementClass): string | null {
  if (transaction === null) return null;
  const parts: string[] = [transaction.kind];
  if ('readOnly' in transaction && transaction.readOnly !== null)
    parts.push(transaction.readOnly ? 'read only' : 'read write');
  if ('isolation' in transaction && transaction.isolation !== null) parts.push(transaction.isolation);
  return parts.join(', ');
}

type Explained = ExplainReport['decision'];

function denied(message: string, rule: string | null): { decision: Explained; chosen: null } {
  const why = `rule ${rule} refuses it: ${message}`;
  return { decision: { kind: 'refused', node: null, onReplica: false, reason: 'denied', why }, chosen: null };
}

function decisionOf(
  cluster: ClusterRuntime,
  unit: Unit,
  view: SessionView,
  facts: SessionFacts | null,
): { decision: Explained; chosen: string | null } {
  const { statement } = unit;
  const nowhere = { node: null, onReplica: false };
  if (statement.route === 'proxy')
    return { decision: { kind: 'proxy', ...nowhere, reason: 'proxy', why: ROUTE_MEANS.proxy }, chosen: null };
  if (facts?.held != null) return heldDecision(statement, facts, facts.held);
  const together = facts !== null && view.lastReplica !== null && unit.shareable;
  const peeking: Pick<Balancer, 'choose'> = { choose: (nodes) => cluster.balancer(together).peek(nodes) };
  const decision: Decision = decide(statement, view, cluster.snapshot, cluster.positions, peeking);
  if (decision.kind !== 'node')
    return {
      decision: {
        kind: 'hold',
        ...nowhere,
        reason: decision.kind === 'hold' ? decision.reason : 'no-primary',
        why: WHY['no-primary']!,
      },
      chosen: null,
    };
  const { node, onReplica, reason } = decision;
  const why = WHY[reason] ?? reason;
  return { decision: { kind: 'node', node, onReplica, reason, why }, chosen: node };
}

/** The session has a server connection of its own between units: everything runs there. */
function heldDecision(
  statement: StatementClass,
  facts: SessionFacts,
  held: NonNullable<SessionFacts['held']>,
): { decision: Explained; chosen: string | null } {
  const { node, onReplica } = held;
  const because = [
    ...(facts.transaction === 'idle' ? [] : ['its transaction is open']),
    ...facts.pins.map((pin) => `${pin} is kept`),
  ];
  const holds = because.length === 0 ? 'a unit of it runs' : because.join(', and ');
  if (onReplica && statement.pin !== null)
    return {
      decision: {
        kind: 'refused',
        ...{ node, onReplica },
        reason: 'in-transaction',
        why: `${holds} on ${node}, a replica, where nothing may be kept (${statement.pin})`,
      },
      chosen: node,
    };
  return {
    decision: {
      kind: 'held-connection',
      ...{ node, onReplica },
      reason: 'in-transaction',
      why: `${holds} on ${node}: everything of the session runs there`,
    },
    chosen: node,
  };
}

function explainNode(
  cluster: ClusterRuntime,
  node: NodeSnapshot,
  statement: StatementClass,
  view: SessionView,
  decision: Explained,
  chosen: string | null,
): ExplainedNode {
  const { name, role } = node;
  const described = (verdict: ExplainedNode['verdict'], why: string): ExplainedNode => ({
    name,
    role,
    verdict,
    why,
  });
  if (name === chosen) return described('chosen', decision.why);
  if (decision.kind === 'refused' && chosen === null) return described('passed-over', 'it is refused');
  if (decision.kind === 'proxy') return described('passed-over', 'no node is asked');
  if (decision.kind === 'held-connection' || decision.kind === 'refused')
    return described('passed-over', `the session holds a server connection of ${chosen}`);
  if (name === cluster.snapshot.primary) {
    if (!takesUnits(node.mode, true)) return described('passed-over', `is set to ${node.mode}`);
    return described('also', 'is the primary: takes it where no replica may');
  }
  if (!isReplicaRead(statement)) return described('passed-over', 'is not the primary');
  if (!view.splitReads) return described('passed-over', 'reads are not split');
  if (view.consistency === 'primary') return described('passed-over', 'the level asks for the primary');
  const over = passedOver(node, view, cluster.positions);
  return over === null ? described('also', alsoWhy(cluster, node)) : described('passed-over', over.why);
}

/** It may take the read, and another one was chosen. */
function alsoWhy({ config, snapshot }: ClusterRuntime, node: NodeSnapshot): string {
  const { locality, balance, slowStartMs } = config.routing;
  if (node.weight === 0) return 'may take it, but its weight is 0';
  if (locality !== undefined && node.tags[locality.tag] !== locality.value)
    return `may take it, but is not in ${locality.tag} "${locality.value}"`;
  const backMs = snapshot.takenAtMs - node.backSinceMs;
  if (backMs < slowStartMs) return `may take it, but has been back for ${Math.round(backMs)} ms only`;
  return `may take it as well; ${balance} chose another`;
}

function sharingOf(
  unit: Unit,
  cluster: ClusterRuntime,
  switched: boolean | null,
  facts: SessionFacts | null,
): ExplainReport['sharing'] {
  const no = (why: string) => ({ would: false, why });
  if (facts?.held != null) return no('the session holds a server connection of its own');
  if (facts?.client.asksBack === true) return no('the session asks about its last statements');
  const why = whyNotShared(unit, cluster, switched);
  if (why !== null) return no(why);
  return { would: true, why: "it is a short read: it may stand behind others' on a server connection" };
}

// --- sessions -------------------------------------------------------------------------------------------------

export function sessionsOf(
  clusters: Iterable<ClusterRuntime>,
  asked: { readonly cluster: string | null; readonly user: string | null; readonly limit: number },
): SessionsReport {
  // A report of each of thousands would keep clients waiting: only those that are listed are written.
  const chosen: [ClusterRuntime, SessionFacts][][] = [[], [], []];
  let total = 0;
  for (const cluster of clusters) {
    if (asked.cluster !== null && cluster.name !== asked.cluster) continue;
    for (const { facts } of cluster.sessions) {
      if (facts === null || (asked.user !== null && facts.key.user !== asked.user)) continue;
      total++;
      const some = chosen[facts.phase !== 'idle' ? 0 : facts.held !== null ? 1 : 2]!;
      if (some.length < asked.limit) some.push([cluster, facts]);
    }
  }
  const listed = chosen.flat().slice(0, asked.limit);
  return {
    total,
    sessions: listed.map(([cluster, facts]) => sessionReport(cluster, facts)).sort(byActivity),
  };
}

function sessionReport(cluster: ClusterRuntime, facts: SessionFacts): SessionReport {
  const { id, address } = facts.client.facts;
  return {
    id,
    cluster: cluster.name,
    listener: facts.listener.name,
    user: facts.key.user,
    database: facts.key.database,
    application: facts.application,
    address,
    state: facts.phase,
    transaction: facts.transaction,
    pins: facts.pins,
    node: facts.server?.node ?? null,
    shared: facts.isShared,
    shape: facts.unit === null ? null : facts.unit.shape.slice(0, MAX_SHAPE),
  };
}
