// The storm as a test: few clients for seconds. It fails on violations, and on a storm that has hardly taken place, never on slowness.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { storm } from './storm.js';

const CLIENTS = 60;
const SECONDS = 6;

/** What every storm must have been answered at least once, however slow the machine. */
const KINDS: Record<'postgres' | 'mysql', readonly string[]> = {
  postgres: [
    ...[
      'simple',
      'unnamed',
      'unnamed-binary',
      'unnamed-types',
      'named-execute',
      'error',
      'error-in-batch',
      'rows',
    ],
    ...[
      'portal',
      'copy',
      'shifting',
      'set',
      'setting',
      'write',
      'read-own',
      'commit',
      'flush',
      'slow',
      'after-cancel',
    ],
  ],
  mysql: [
    ...[
      'text',
      'prepare',
      'execute',
      'long-data',
      'error',
      'several',
      'rows',
      'shifting',
      'set',
      'setting',
      'insert',
    ],
    ...['write', 'read-own', 'commit', 'slow', 'after-cancel'],
  ],
};

export function shortStorm(kind: Kind): void {
  test(`${kind}: ${CLIENTS} clients in a storm`, { skip: skipWithout(available(kind)) }, async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const { tally } = await storm({ kind, seconds: SECONDS, clients: CLIENTS, seed, failover: false });
    t.diagnostic(
      JSON.stringify({
        answered: tally.answered,
        failed: tally.failed,
        chaos: tally.chaos,
        slowestMs: tally.slowestMs,
      }),
    );
    assert.deepEqual(tally.violations, [], `seed ${seed}`);
    for (const name of KINDS[kind === 'postgres' ? 'postgres' : 'mysql'])
      assert.ok((tally.answered[name] ?? 0) > 0, `no "${name}" was answered`);
    assert.ok((tally.chaos['server connections ended'] ?? 0) > 0, 'no server connection was ended');
  });
}
