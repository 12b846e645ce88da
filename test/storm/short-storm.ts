// The storm as a test: few clients until each of them and of the chaos has done all that it does. It fails on violations, and on
// a storm that has not taken place, never on slowness.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { storm } from './storm.js';
import type { Tally } from './tally.js';

const CLIENTS = 60;
const SECONDS = 6;

/** What every storm must have been answered at least once. */
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

/** What must have been done to every storm. */
const CHAOS: readonly string[] = [
  ...['server connections ended', 'locks held', 'locks that held clients up on a replica', 'tables changed'],
  ...['replicas frozen', 'replicas restarted', 'cancels'],
  ...['in mid-result', 'in mid-unit', 'in a write', 'in a slow pipeline'].map((how) => `client dies ${how}`),
];

function missing(kind: Kind, { answered, chaos }: Tally): string[] {
  return [
    ...KINDS[kind === 'postgres' ? 'postgres' : 'mysql'].filter((name) => answered[name] === undefined),
    ...CHAOS.filter((name) => chaos[name] === undefined),
  ];
}

export function shortStorm(kind: Kind): void {
  test(`${kind}: ${CLIENTS} clients in a storm`, { skip: skipWithout(available(kind)) }, async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const { tally, seconds } = await storm({
      ...{ kind, seconds: SECONDS, clients: CLIENTS, seed, failover: false },
      enough: (tally) => missing(kind, tally).length === 0,
    });
    t.diagnostic(
      JSON.stringify({
        answered: tally.answered,
        failed: tally.failed,
        chaos: tally.chaos,
        slowestMs: tally.slowestMs,
        seconds,
      }),
    );
    assert.deepEqual(tally.violations, [], `seed ${seed}`);
    assert.deepEqual(missing(kind, tally), [], 'what never took place');
  });
}
