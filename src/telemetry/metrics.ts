// Turns the plain numbers of counters.ts into Prometheus series when they are scraped; one table row a metric.
// It knows the data path only as numbers; names follow prometheus.io/docs/practices/naming: base units, `_total` for counters.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import {
  byCluster,
  byClusterAnd,
  byListener,
  byNode,
  byNodeAnd,
  byStatement,
  byWorker,
  ofStatements,
  type Row,
  type Sample,
} from './series.js';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

const PREFIX = 'scheelite_';

const ROWS: readonly Row[] = [
  {
    type: 'gauge',
    name: 'build_info',
    help: 'Always 1; the labels say what runs.',
    labels: ['version', 'node_version'],
    read: ({ facts }, emit) => emit({ version: facts.version, node_version: process.version }, 1),
  },
  {
    type: 'gauge',
    name: 'config_revision',
    help: 'Configuration that runs now: 1 at the start, one more with each reload that was applied.',
    labels: [],
    read: ({ facts }, emit) => emit({}, facts.revision),
  },
  {
    type: 'counter',
    name: 'config_reloads_total',
    help: 'Attempts to take over a changed configuration, by how they ended.',
    labels: ['outcome'],
    read: ({ facts }, emit) => {
      for (const [outcome, value] of Object.entries(facts.reloads)) emit({ outcome }, value);
    },
  },

  {
    type: 'counter',
    name: 'busy_poll_seconds_total',
    help: 'Time spent looking for input that had not come, instead of sleeping (busyPollUs).',
    labels: [],
    read: ({ counters }, emit) => emit({}, counters.busyPollMs / 1000),
  },

  byWorker('gauge', 'worker_running', '1: the worker serves clients; 0: it is being replaced.', (w) =>
    Number(w.running),
  ),
  byWorker('counter', 'worker_restarts_total', 'How often the worker was replaced.', (w) => w.restarts),
  byWorker('gauge', 'worker_resident_memory_bytes', 'Memory of the worker.', (w) => w.residentBytes),
  byWorker('counter', 'worker_cpu_seconds_total', 'Processor time of the worker.', (w) => w.cpuSeconds),

  byListener('gauge', 'client_connections', 'Client connections now.', (l) => l.clients),
  byListener(
    'counter',
    'client_connections_accepted_total',
    'Client connections accepted.',
    (l) => l.clientsTotal,
  ),
  byListener('counter', 'client_login_failures_total', 'Logins that failed.', (l) => l.loginFailures),
  byListener('counter', 'client_received_bytes_total', 'Bytes that clients sent.', (l) => l.bytesReceived),
  byListener('counter', 'client_sent_bytes_total', 'Bytes sent to clients.', (l) => l.bytesSent),

  byCluster('gauge', 'sessions', 'Client connections that have logged in.', (c) => c.clients),
  byCluster(
    'counter',
    'units_answered_locally_total',
    'Units that the proxy answered by itself.',
    (c) => c.unitsOwn,
  ),
  byClusterAnd('reason', 'reads_total', 'Reads, by why they went where they went.', (c) => c.reads),
  byClusterAnd(
    'code',
    'errors_total',
    'Errors of the proxy that were given to clients, by code.',
    (c) => c.errors,
  ),
  byClusterAnd(
    'reason',
    'pins_total',
    'Server connections that became bound to a client, by reason.',
    (c) => c.pins,
  ),
  byClusterAnd(
    'reason',
    'pinned_sessions',
    'Sessions that keep their server connection now, by reason; one may have several.',
    (c) => c.pinned,
    'gauge',
  ),
  byClusterAnd(
    'rule',
    'rule_matches_total',
    'Units that a routing rule matched, by rule; a unit may match several.',
    (c) => c.ruleMatches,
  ),
  byClusterAnd(
    'rule',
    'rule_denials_total',
    'Units that a routing rule refused, by rule.',
    (c) => c.ruleDenials,
  ),
  byCluster(
    'counter',
    'hints_unread_total',
    'Statements with a hint of which something could not be read, and was ignored.',
    (c) => c.hintsUnread,
  ),
  byCluster(
    'counter',
    'statement_timeouts_total',
    'Units that were cancelled at the deadline that a rule or a hint had set.',
    (c) => c.timeouts,
  ),
  byClusterAnd(
    'reason',
    'holds_total',
    'Units that were held until a node could take them, by reason.',
    (c) => c.holds,
  ),
  byCluster('counter', 'hold_seconds_total', 'Time that units were held, together.', (c) => c.holdMs / 1000),
  byCluster('gauge', 'held_units', 'Units held now.', (c) => c.holding),
  byCluster(
    'counter',
    'classification_cache_hits_total',
    'Statements whose class was known.',
    (c) => c.cacheHits,
  ),
  byCluster(
    'counter',
    'classification_cache_misses_total',
    'Statements that had to be parsed.',
    (c) => c.cacheMisses,
  ),
  byCluster(
    'gauge',
    'classification_cache_entries',
    'Statements whose class is kept.',
    (c) => c.cacheEntries,
  ),
  byCluster(
    'gauge',
    'classification_cache_bytes',
    'Memory of statements whose class is kept, estimated.',
    (c) => c.cacheBytes,
  ),
  byCluster(
    'gauge',
    'classification_cache_hit_ratio',
    'Part of the statements whose class was known, since the start; 1 before the first.',
    (c) => (c.cacheHits + c.cacheMisses === 0 ? 1 : c.cacheHits / (c.cacheHits + c.cacheMisses)),
  ),
  byCluster(
    'counter',
    'classification_cache_refusals_total',
    'Statements whose class was not kept: they came for the first time, and the cache had been full.',
    (c) => c.cacheRefusals,
  ),
  byCluster(
    'counter',
    'classified_bytes_total',
    'Bytes of statements that the lexer has read.',
    (c) => c.lexedBytes,
  ),
  ofStatements('gauge', 'statement_shapes', 'Shapes of statements that are counted.', (s) => s.size),
  ofStatements(
    'counter',
    'statement_shapes_evicted_total',
    'Shapes of statements that are counted no longer, because heavier ones came.',
    (s) => s.evicted,
  ),
  byStatement(
    'statement_calls_total',
    'Calls of the statements that take most time; the same few for all metrics of statements.',
    (s) => s.calls,
  ),
  byStatement('statement_errors_total', 'Calls of these that ended in an error.', (s) => s.errors),
  byStatement('statement_rows_total', 'Rows that these sent or changed.', (s) => s.rows),
  byStatement('statement_sent_bytes_total', 'Bytes of replies to these.', (s) => s.bytes),
  byStatement('statement_node_seconds_total', 'Time that nodes took for these.', (s) => s.nodeMs / 1000),
  byStatement(
    'statement_proxy_seconds_total',
    'Time that these waited, queued or were held in the proxy.',
    (s) => s.proxyMs / 1000,
  ),
  byStatement('statement_replica_calls_total', 'Calls of these that replicas answered.', (s) => s.replica),
  byCluster(
    'counter',
    'auto_prepared_executions_total',
    'Executions of unnamed statements that were bound to a statement prepared before.',
    (c) => c.autoPrepare.hits,
  ),
  byCluster(
    'counter',
    'auto_prepare_parses_total',
    'Unnamed statements that were parsed under a name, to be used again.',
    (c) => c.autoPrepare.parses,
  ),
  byCluster(
    'counter',
    'auto_prepare_taken_out_total',
    'Texts that were taken out because they are slower prepared.',
    (c) => c.autoPrepare.takenOut,
  ),
  byClusterAnd('outcome', 'failovers_total', 'Failovers, by how they ended.', (c) => c.failovers),
  byCluster('gauge', 'epoch', 'Counts promotions.', (c) => c.epoch),
  byCluster('gauge', 'session_keys', 'Keys of sessions whose watermarks are remembered.', (c) => c.keys),
  byCluster('counter', 'session_key_evictions_total', 'Keys that were forgotten.', (c) => c.keyEvictions),
  byCluster(
    'gauge',
    'watermark_store_joined',
    '1: this process shares the watermarks of keys with others; summed over workers.',
    (c) => c.store.joined,
  ),
  byCluster(
    'gauge',
    'watermark_store_missing_members',
    'Members without a lease, which keep the others in doubt; summed over workers.',
    (c) => c.store.missing,
  ),
  byCluster(
    'counter',
    'watermark_store_reads_total',
    'Reads for which the watermark of their key was asked of the store.',
    (c) => c.store.reads,
  ),
  byCluster(
    'counter',
    'watermark_store_unknown_keys_total',
    'Keys that the store did not know.',
    (c) => c.store.unknown,
  ),
  byClusterAnd(
    'reason',
    'watermark_store_doubts_total',
    'Keyed reads that the primary served because the store could not be relied upon, by reason.',
    (c) => c.store.doubts,
  ),
  byClusterAnd(
    'outcome',
    'watermark_store_writes_total',
    'Replies kept back for the store, by how that ended.',
    (c) => ({
      recorded: c.store.recorded,
      unrecorded: c.store.unrecorded,
    }),
  ),
  byCluster(
    'counter',
    'watermark_store_write_errors_total',
    'Times that the store failed to take watermarks.',
    (c) => c.store.writeErrors,
  ),
  byCluster(
    'counter',
    'watermark_store_read_seconds_total',
    'Time that the store took for reads, together; with the next one their mean.',
    (c) => c.store.readMs / 1000,
  ),
  byCluster(
    'counter',
    'watermark_store_read_batches_total',
    'Questions to the store.',
    (c) => c.store.readBatches,
  ),
  byCluster(
    'counter',
    'watermark_store_write_seconds_total',
    'Time that replies were kept back for the store, together.',
    (c) => c.store.writeMs / 1000,
  ),

  byNodeAnd('counter', 'route', 'units_total', 'Units sent to a node, by what they were.', (n) => n.units),
  byNodeAnd(
    'counter',
    'reason',
    'retries_total',
    'Units run again after this node failed them, by reason.',
    (n) => n.retries,
  ),
  byNodeAnd('gauge', 'state', 'pool_connections', 'Server connections now, by what they do.', (n) => ({
    idle: n.poolIdle,
    leased: n.poolLeased,
    shared: n.poolShared,
  })),
  byNode('gauge', 'pool_waiting_units', 'Units that wait for a server connection.', (n) => n.poolWaiting),
  byNode(
    'counter',
    'pool_waits_total',
    'Units that had to wait for a server connection.',
    (n) => n.poolWaits,
  ),
  byNode(
    'counter',
    'pool_timeouts_total',
    'Units that gave up waiting for a server connection.',
    (n) => n.poolTimeouts,
  ),
  byNode(
    'counter',
    'shared_units_total',
    'Units that shared a server connection with units of other clients.',
    (n) => n.sharedUnits,
  ),
  byNode(
    'counter',
    'grouped_units_total',
    'Units of several clients that were answered under one Sync (PostgreSQL).',
    (n) => n.groupedUnits,
  ),
  byNode(
    'counter',
    'shared_slow_heads_total',
    'How often a unit took so long that those behind it were moved to other server connections.',
    (n) => n.slowHeads,
  ),
  byNode('counter', 'pool_refusals_total', 'Units that found the queue full.', (n) => n.poolRefusals),
  byNode(
    'counter',
    'server_connections_opened_total',
    'Server connections that were opened.',
    (n) => n.serverConnectionsOpened,
  ),
  byNode(
    'counter',
    'server_connections_open_failures_total',
    'Server connections that could not be opened.',
    (n) => n.serverConnectionsOpenFailures,
  ),
  byNode(
    'counter',
    'server_connections_closed_total',
    'Server connections that ended.',
    (n) => n.serverConnectionsClosed,
  ),
  byNode('counter', 'server_received_bytes_total', 'Bytes that the node sent.', (n) => n.bytesReceived),
  byNode('counter', 'server_sent_bytes_total', 'Bytes sent to the node.', (n) => n.bytesSent),
  byNodeAnd('counter', 'result', 'probes_total', 'Probes of the monitor, by result.', (n) => ({
    answered: n.probesAnswered,
    ...n.probesFailed,
  })),
  byNode('gauge', 'node_up', '1: the node answers probes.', (n) => Number(n.up)),
  byNode('gauge', 'node_primary', '1: the node is the primary.', (n) => Number(n.primary)),
  byNode('gauge', 'node_takes_reads', '1: reads may go to the node as a replica.', (n) =>
    Number(n.takesReads),
  ),
  byNode(
    'gauge',
    'replication_lag_seconds',
    'How far the node is behind the primary; absent when unknown.',
    (n) => (n.lagMs === null ? null : n.lagMs / 1000),
  ),
];

/** Names, types and help of all metrics, for the reference. */
export const METRICS: readonly Omit<Row, 'read'>[] = ROWS.map(({ type, name, help, labels }) => ({
  type,
  name: PREFIX + name,
  help,
  labels,
}));

/** `read` is called once a scrape. */
export function createMetrics(read: () => Sample): { text(): Promise<MetricsText> } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  let sample: Sample | null = null;
  for (const row of ROWS) {
    const options = {
      name: PREFIX + row.name,
      help: row.help,
      labelNames: [...row.labels],
      registers: [registry],
    };
    if (row.type === 'gauge') {
      new Gauge({
        ...options,
        collect() {
          this.reset();
          row.read(sample!, (labels, value) => this.set(labels, value));
        },
      });
    } else {
      new Counter({
        ...options,
        collect() {
          this.reset();
          row.read(sample!, (labels, value) => this.inc(labels, value));
        },
      });
    }
  }
  return {
    async text() {
      sample = read();
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
