// The history checker over real servers, as a test: no violation through the proxy, and planted ones are caught.
// It fails on violations, and on a run that has hardly taken place, never on slowness.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ON_ALL_SERVERS } from '../servers/alike.js';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { type RunOptions, type RunResult, run } from './run.js';
import { storyOf } from './story.js';

function told({ verdict }: RunResult): string {
  return verdict.violations
    .slice(0, 5)
    .flatMap((violation) => storyOf(violation, verdict.facts))
    .join('\n');
}

export function shortRun(kind: Kind): void {
  describe(`${kind}: histories of real sessions`, { skip: skipWithout(available(kind)) }, () => {
    const seed = Date.now() % 1_000_000;
    const options: RunOptions = {
      ...{ kind, seed, operations: 8_000, sessions: 40, level: 'session', scope: 'connection' },
      ...{ proxies: 1, workers: 2, redis: false, failover: false, replicas: 2 },
    };

    test('through the proxy there is no violation', async (t) => {
      const result = await run(options);
      const { verdict, replicaShare, disturbances, failures, broken } = result;
      t.diagnostic(`seed ${seed}: ${JSON.stringify({ replicaShare, disturbances, failures })}`);
      assert.equal(verdict.total, 0, `seed ${seed}\n${told(result)}`);
      assert.deepEqual(broken, []);
      assert.equal(result.lost, 0);
      assert.ok(verdict.operations >= options.operations, `${verdict.operations} operations`);
      assert.ok(verdict.writes > 400 && verdict.reads > 4_000, JSON.stringify(verdict.counts));
      assert.ok(replicaShare > 0.02 && replicaShare < 1, `${replicaShare} of the reads on replicas`);
      assert.ok((disturbances['replay paused'] ?? 0) + (disturbances['replay delayed'] ?? 0) > 0);
    });

    // The checker is the same, whose positions it is that are late.
    if (kind === 'mysql' && !ON_ALL_SERVERS) return;
    test('planted: a proxy that promises nothing is caught', async () => {
      const result = await run({
        ...{ ...options, operations: 4_000, workers: 1, level: 'eventual', demand: 'session', replicas: 3 },
      });
      assert.equal(result.verdict.counts.fork + result.verdict.counts.fabricated, 0, told(result));
      assert.ok(result.verdict.counts['read-your-writes'] > 0, JSON.stringify(result.verdict.counts));
      assert.ok(result.verdict.counts['monotonic-reads'] > 0, JSON.stringify(result.verdict.counts));
    });

    test('planted: sessions that go to the primary and to a late replica by turns are caught', async () => {
      const result = await run({
        ...{ ...options, operations: 4_000, proxies: 0, scope: 'key', demand: 'strong', replicas: 3 },
        addresses: ({ primary, replicas }) => [primary, replicas.at(-1)!],
      });
      assert.equal(result.verdict.counts.fork + result.verdict.counts.fabricated, 0, told(result));
      assert.ok(result.verdict.counts['read-your-writes'] > 0, JSON.stringify(result.verdict.counts));
      assert.ok(result.verdict.counts['real-time'] > 0, JSON.stringify(result.verdict.counts));
    });
  });
}
