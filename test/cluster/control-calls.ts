// What the control connections of a node are asked beside probes: verifiers, what logins are given, calls that are slow or many.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { NodeControl } from '../../src/protocol/node-control.js';
import type { TestCluster } from '../servers/cluster.js';
import { controlFor } from './watch.js';

/** `control`: of the primary. */
export async function controlCallTests(
  t: TestContext,
  cluster: TestCluster,
  control: NodeControl,
): Promise<void> {
  const { kind, primary } = cluster;

  await t.test('verifiers are read as the server keeps them', async () => {
    const verifier = await control.verifier(cluster.user.user, 5_000);
    const method = {
      postgres: 'scram-sha-256',
      mysql: 'caching_sha2_password',
      mariadb: 'mysql_native_password',
    };
    assert.equal(verifier?.method, method[kind]);
    assert.match(
      verifier?.secret ?? '',
      { postgres: /^SCRAM-SHA-256\$/, mysql: /^\$A\$00[0-9A-F]\$/, mariadb: /^\*[0-9A-F]{40}$/ }[kind],
    );
    assert.equal(await control.verifier('nobody', 5_000), null);
  });

  await t.test('names that clients give are no SQL, whatever a string is to the server', async (t) => {
    const { user } = cluster.user;
    await primary.admin(
      kind === 'postgres'
        ? "ALTER DATABASE postgres SET standard_conforming_strings = 'off'"
        : "SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'",
    );
    t.after(() =>
      primary.admin(
        kind === 'postgres'
          ? 'ALTER DATABASE postgres RESET standard_conforming_strings'
          : 'SET GLOBAL sql_mode = DEFAULT',
      ),
    );
    // Its connections begin with it.
    const control = controlFor(cluster, primary);
    t.after(() => control.close());
    const column = kind === 'postgres' ? 'rolname' : 'user';
    for (const name of [
      `x' OR ${column} = '${user}`,
      `x\\' OR ${column} = '${user}`,
      `x' OR 1 = 1 -- `,
      'x\\',
    ])
      assert.equal(await control.verifier(name, 5_000), null, name);
    const unknown = await control.standing('x', 'x', 0, 5_000);
    const known = await control.standing(user, 'x', 0, 5_000);
    assert.notEqual(known.text, unknown.text);
    assert.equal((await control.standing(`x' OR ${column} = '${user}`, 'x', 0, 5_000)).text, unknown.text);
  });

  await t.test('many calls at a time wait for each other', async () => {
    const asked = Array.from({ length: 200 }, () => control.verifier(cluster.user.user, 60_000));
    for (const verifier of await Promise.all(asked)) assert.notEqual(verifier, null);
  });

  await t.test('a slow call does not delay another one, and is cut at its time', async () => {
    const sleep = kind === 'postgres' ? 'SELECT pg_sleep(60)' : 'SELECT SLEEP(60)';
    const slow = control.query(sleep, 2_000);
    const quick = await control.position(1_900);
    assert.ok(quick.text !== '');
    await assert.rejects(slow, { name: 'ProbeFailure', kind: 'timeout' });
    assert.ok((await control.position(5_000)).text !== '');
  });
}
