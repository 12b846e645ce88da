// From plain numbers to the Prometheus text format: every number has its series, with its labels and in base units.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clusterCounters,
  countOne,
  createCounters,
  listenerCounters,
  nodeCounters,
} from '../../src/telemetry/counters.js';
import { createMetrics, METRICS } from '../../src/telemetry/metrics.js';
import { statementId } from '../../src/telemetry/statement-report.js';
import { Statements } from '../../src/telemetry/statements.js';

const facts = { version: '1.2.3', revision: 4, reloads: { applied: 3, unchanged: 0, refused: 1 } };

/** Series and values of our own, without comments. */
function series(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line.startsWith('scheelite_'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

test('numbers become series', async () => {
  const counters = createCounters();
  const listener = listenerCounters(counters, 'app');
  const cluster = clusterCounters(counters, 'main');
  const node = nodeCounters(cluster, 'a');
  const { text } = createMetrics(() => ({ counters, facts }));

  listener.clients = 2;
  listener.clientsTotal = 7;
  cluster.reads['fresh-by-probe'] += 5;
  countOne(cluster.errors, 'pool-timeout');
  countOne(cluster.errors, 'pool-timeout');
  countOne(cluster.pins, 'listen');
  cluster.holdMs = 1500;
  node.units.replica = 11;
  node.groupedUnits = 4;
  counters.busyPollMs = 2_500;
  node.poolIdle = 3;
  node.probesAnswered = 100;
  node.probesFailed.timeout = 1;
  node.lagMs = 250;
  node.up = true;

  const answer = await text();
  assert.match(answer.contentType, /^text\/plain; version=0\.0\.4/);
  const all = series(answer.text);
  for (const [name, value] of [
    ['scheelite_client_connections{listener="app"}', 2],
    ['scheelite_client_connections_accepted_total{listener="app"}', 7],
    ['scheelite_reads_total{cluster="main",reason="fresh-by-probe"}', 5],
    ['scheelite_reads_total{cluster="main",reason="no-replica"}', 0],
    ['scheelite_errors_total{cluster="main",code="pool-timeout"}', 2],
    ['scheelite_pins_total{cluster="main",reason="listen"}', 1],
    ['scheelite_hold_seconds_total{cluster="main"}', 1.5],
    ['scheelite_units_total{cluster="main",node="a",route="replica"}', 11],
    ['scheelite_grouped_units_total{cluster="main",node="a"}', 4],
    ['scheelite_busy_poll_seconds_total', 2.5],
    ['scheelite_units_total{cluster="main",node="a",route="primary"}', 0],
    ['scheelite_pool_connections{cluster="main",node="a",state="idle"}', 3],
    ['scheelite_probes_total{cluster="main",node="a",result="answered"}', 100],
    ['scheelite_probes_total{cluster="main",node="a",result="timeout"}', 1],
    ['scheelite_replication_lag_seconds{cluster="main",node="a"}', 0.25],
    ['scheelite_node_up{cluster="main",node="a"}', 1],
    ['scheelite_node_primary{cluster="main",node="a"}', 0],
    ['scheelite_config_revision', 4],
    ['scheelite_config_reloads_total{outcome="refused"}', 1],
  ] as const) {
    assert.equal(all.get(name), value, name);
  }
  assert.match(answer.text, /^process_cpu_seconds_total /m);
});

test('a scrape sees the numbers of its moment, and nodes that left are gone', async () => {
  const counters = createCounters();
  const cluster = clusterCounters(counters, 'main');
  const node = nodeCounters(cluster, 'a');
  const { text } = createMetrics(() => ({ counters, facts }));
  node.units.primary = 1;
  node.lagMs = 5;
  const units = 'scheelite_units_total{cluster="main",node="a",route="primary"}';
  const lag = 'scheelite_replication_lag_seconds{cluster="main",node="a"}';
  assert.equal(series((await text()).text).get(units), 1);
  node.units.primary = 2;
  node.lagMs = null;
  const second = series((await text()).text);
  assert.equal(second.get(units), 2);
  assert.equal(second.has(lag), false);
  cluster.nodes.delete('a');
  assert.equal(series((await text()).text).has(units), false);
});

test('two proxies in one process have separate numbers', async () => {
  const [one, two] = [createCounters(), createCounters()];
  const [first, second] = [one, two].map((counters) => createMetrics(() => ({ counters, facts })));
  clusterCounters(one, 'one').epoch = 1;
  clusterCounters(two, 'two').epoch = 2;
  assert.equal(series((await first!.text()).text).get('scheelite_epoch{cluster="one"}'), 1);
  assert.equal(series((await second!.text()).text).has('scheelite_epoch{cluster="one"}'), false);
});

test('only the heaviest statements have series, and none when none are asked for', async () => {
  const counters = createCounters();
  const statements = new Statements();
  for (let i = 0; i < 50; i++) {
    const record = statements.obtain(i === 0 ? `select "a\\b\n${'x'.repeat(3_000)}"` : `select ? from t${i}`);
    record.calls = 3;
    record.nodeMs = 1_000 - i;
    record.queueMs = 500;
  }
  let top = 3;
  const clusters = [{ cluster: 'main', statements }];
  const { text } = createMetrics(() => ({ counters, facts, statements: { top, clusters } }));
  const ofStatements = (all: Map<string, number>) =>
    [...all].filter(([name]) => name.startsWith('scheelite_statement_') && name.includes('shape='));
  const all = series((await text()).text);
  const seconds = `scheelite_statement_node_seconds_total{cluster="main",id="${statementId('select ? from t1')}",shape="select ? from t1"}`;
  assert.equal(all.get(seconds), 0.999);
  assert.equal(all.get(seconds.replace('node_seconds', 'proxy_seconds')), 0.5);
  assert.equal(all.get('scheelite_statement_shapes{cluster="main"}'), 50);
  const metrics = METRICS.filter(({ labels }) => labels.includes('shape')).length;
  assert.equal(ofStatements(all).length, 3 * metrics);
  for (const [name] of ofStatements(all)) assert.ok(name.length < 250, name);
  top = 0;
  assert.deepEqual(ofStatements(series((await text()).text)), []);
});

test('names keep the conventions', () => {
  assert.ok(METRICS.length > 30);
  for (const { name, type, help } of METRICS) {
    assert.match(name, /^scheelite_[a-z][a-z_]*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|count)(_|$)/, name);
    assert.match(help, /\.$/, name);
  }
  assert.equal(new Set(METRICS.map(({ name }) => name)).size, METRICS.length);
});
