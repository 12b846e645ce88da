// What may be otherwise for some only: sharing by rule, by listener and by user, auto-prepare by rule and by user.
// Run by suite.ts.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Account, Client } from '../../e2e/driver.js';
import type { Front, Stage } from '../../e2e/stage.js';
import { until } from '../../servers/poll.js';
import { ONE_SHARED } from '../one-shared.js';

export async function switchTests(t: TestContext, stage: Stage): Promise<void> {
  const shared = (front: Front) =>
    stage.cluster.nodes.reduce((sum, { name }) => sum + front.node(name).sharedUnits, 0);
  const flood = async (front: Front, t: TestContext, sql: string, count = 120) => {
    const clients = await front.connectMany(t, 4);
    for (let i = 0; i < count; i++) await Promise.all(clients.map((client) => client.query(sql, [1])));
  };
  const here = 'SELECT name AS here FROM items WHERE id = ?';
  const there = 'SELECT name AS there FROM items WHERE id = ?';

  await t.test('sharing, off and on by rule', async (t) => {
    const off = await stage.front(t, {
      rules: [{ match: { shapePattern: 'as here' }, action: { sharing: false } }],
    });
    await flood(off, t, here);
    assert.equal(shared(off), 0);
    await flood(off, t, there);
    assert.ok(shared(off) > 0);
    const on = await stage.front(t, {
      sharing: { enabled: false },
      rules: [{ match: { shapePattern: 'as here' }, action: { sharing: true } }],
    });
    await flood(on, t, there);
    assert.equal(shared(on), 0);
    await flood(on, t, here);
    assert.ok(shared(on) > 0);
  });

  await t.test('sharing, off and on by listener and by user, which says more', async (t) => {
    const { cluster, driver } = stage;
    const { user: name, password } = cluster.user;
    const root = { ...cluster.superuser, database: cluster.user.database };
    const listener = (name: string, sharing?: { enabled: boolean }) =>
      ({ name, host: '127.0.0.1', port: 0, ...(sharing === undefined ? {} : { sharing }) }) as const;
    /** Through its listener of that name, in rounds of few: what is known of the shape serves all alike. */
    const clientsOf = (front: Front, account: Account, name: string) => {
      const at = front.proxy.proxy.listeners.find((each) => each.name === name)!;
      return Promise.all(
        [1, 2, 3].map(async () => {
          const client = await driver.connect({ host: at.host, port: at.port }, account);
          t.after(() => client.kill());
          return client;
        }),
      );
    };
    const round = async (front: Front, clients: readonly Client[]) => {
      await Promise.all(clients.map((client) => client.query(here, [1])));
      await front.refresh();
    };
    const shares = async (front: Front, clients: readonly Client[]) => {
      const before = shared(front);
      await until('they share', async () => {
        await round(front, clients);
        return shared(front) > before;
      });
    };
    const never = async (front: Front, clients: readonly Client[]) => {
      const before = shared(front);
      for (let i = 0; i < 30; i++) await round(front, clients);
      assert.equal(shared(front), before);
    };
    for (const enabled of [false, true]) {
      const front = await stage.front(
        t,
        { sharing: { ...ONE_SHARED, enabled: !enabled }, users: [{ name, password }] },
        { listeners: [listener('as cluster'), listener('other', { enabled })] },
      );
      const asCluster = await clientsOf(front, cluster.user, 'as cluster');
      const other = await clientsOf(front, cluster.user, 'other');
      // First those who share: what they share is known of all.
      await shares(front, enabled ? other : asCluster);
      await never(front, enabled ? asCluster : other);
      await shares(front, enabled ? other : asCluster);
    }
    for (const enabled of [false, true]) {
      const users = [
        { name, password, sharing: { enabled } },
        { name: root.user, password: root.password },
      ];
      const front = await stage.front(
        t,
        { sharing: ONE_SHARED, users },
        { listeners: [listener('as cluster'), listener('other', { enabled: !enabled })] },
      );
      const its = await clientsOf(front, cluster.user, 'other');
      const others = await clientsOf(front, root, 'other');
      await shares(front, enabled ? its : others);
      await never(front, enabled ? others : its);
      await shares(front, await clientsOf(front, enabled ? cluster.user : root, 'as cluster'));
    }
  });

  if (stage.kind !== 'postgres') return;
  const parses = (front: Front) => front.counters().autoPrepare.parses;

  await t.test('auto-prepare, off and on by rule and by user', async (t) => {
    const off = await stage.front(t, {
      rules: [{ match: { shapePattern: 'as here' }, action: { autoPrepare: false } }],
    });
    await flood(off, t, here, 20);
    assert.equal(parses(off), 0);
    await flood(off, t, there, 20);
    assert.ok(parses(off) > 0);
    const on = await stage.front(t, {
      autoPrepare: { enabled: false },
      rules: [{ match: { shapePattern: 'as here' }, action: { autoPrepare: true } }],
    });
    await flood(on, t, there, 20);
    assert.equal(parses(on), 0);
    await flood(on, t, here, 20);
    assert.ok(parses(on) > 0);
    const { user, password } = stage.cluster.user;
    const byUser = await stage.front(t, {
      users: [{ name: user, password, autoPrepare: { enabled: false } }],
    });
    await flood(byUser, t, here, 20);
    assert.equal(parses(byUser), 0);
  });

  await t.test('auto-prepare, sooner and later by rule and by user', async (t) => {
    const { user, password } = stage.cluster.user;
    const front = await stage.front(t, {
      users: [{ name: user, password, autoPrepare: { threshold: 8 } }],
      rules: [
        { match: { shapePattern: 'as here' }, action: { autoPrepare: { threshold: 40 } } },
        { match: { shapePattern: 'as never' }, action: { autoPrepare: { threshold: 1_000 } } },
      ],
    });
    const client = await front.connect(t);
    /** How often it comes until it is prepared. */
    const comings = async (sql: string, most: number): Promise<number> => {
      const before = parses(front);
      for (let i = 1; i <= most; i++) {
        await client.query(sql, [1]);
        if (parses(front) > before) return i;
      }
      return most + 1;
    };
    assert.equal(await comings(there, 100), 8);
    assert.equal(await comings(here, 100), 40);
    assert.equal(await comings('SELECT name AS never FROM items WHERE id = ?', 100), 101);
    // What the rule keeps from being prepared is no other text for those whom it does not match.
    assert.equal(await comings('SELECT id AS there FROM items WHERE id = ?', 100), 8);
  });
}
