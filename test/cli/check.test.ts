// scheelite check against real clusters: what it finds when all is well, and what it says of each thing that is not.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { minimal, temporaryFolder } from '../config/folder.js';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { startCluster, type TestCluster, type TestNode } from '../servers/cluster.js';
import { type Ended, scheelite } from './run.js';

const KINDS: readonly Kind[] = ['postgres', 'mysql', 'mariadb'];

for (const kind of KINDS) {
  describe(`check of ${kind}`, { skip: skipWithout(available(kind)) }, () => {
    let cluster: TestCluster;
    before(async () => {
      cluster = await startCluster(kind);
      await cluster.waitCaughtUp();
    });
    after(() => cluster?.stop());

    const configured = (nodes: readonly TestNode[], parts: Record<string, unknown> = {}) =>
      minimal({
        protocol: kind === 'postgres' ? 'postgres' : 'mysql',
        nodes: nodes.map(({ name, host, port }) => ({ name, host, port })),
        monitor: cluster.superuser,
        ...parts,
      });

    /** Runs `check` on a configuration. */
    async function check(
      t: Parameters<typeof temporaryFolder>[0],
      config: unknown,
      ...flags: string[]
    ): Promise<Ended> {
      const folder = temporaryFolder(t);
      folder.write('proxy.json', config);
      return scheelite(['check', '--config', 'proxy.json', ...flags], { cwd: folder.path });
    }

    test('finds a primary and two replicas', async (t) => {
      const { code, stdout, stderr } = await check(t, configured(cluster.nodes));
      assert.equal(stderr, '');
      assert.equal(code, 0, stdout);
      const { primary, replicas } = cluster;
      const version = cluster.version.replace(/[.]/g, '[.]');
      assert.match(
        stdout,
        new RegExp(`^  ${primary.name} +127\\.0\\.0\\.1:${primary.port} +primary +.*${version}`, 'm'),
      );
      for (const replica of replicas) {
        const row = `^  ${replica.name} +127\\.0\\.0\\.1:${replica.port} +replica .* 127\\.0\\.0\\.1:${primary.port} `;
        assert.match(stdout, new RegExp(row, 'm'));
      }
      assert.match(stdout, /^ {2}users: read from the primary \(\w+: [\w-]+\)$/m);
      assert.match(stdout, /^all is well$/m);
      assert.ok(!stdout.includes(cluster.superuser.password) || cluster.superuser.password === '');
    });

    test('finds the same as JSON', async (t) => {
      const { code, stdout } = await check(t, configured(cluster.nodes), '--json');
      assert.equal(code, 0);
      const report = JSON.parse(stdout);
      assert.deepEqual(report.clusters[0].problems, []);
      const nodes: { role: string; clockSkewMs: number; behind: number; writable: boolean }[] =
        report.clusters[0].nodes;
      assert.deepEqual(
        nodes.map((node) => [node.role, node.writable]),
        [
          ['primary', true],
          ['replica', false],
          ['replica', false],
        ],
      );
      for (const node of nodes) {
        // One machine, one clock; the time zone of a server must not look like a skew.
        assert.ok(Math.abs(node.clockSkewMs) < 60_000, String(node.clockSkewMs));
        assert.ok(node.behind >= 0);
      }
    });

    test('lists the users of the configuration instead of asking for them', async (t) => {
      const { stdout } = await check(t, configured(cluster.nodes, { users: [{ name: 'a', password: 'b' }] }));
      assert.match(stdout, /^ {2}users: 1 user in the configuration$/m);
    });

    test('a wrong password', async (t) => {
      const monitor = { ...cluster.superuser, password: 'not this one' };
      const { code, stdout } = await check(t, configured(cluster.nodes, { monitor }));
      assert.equal(code, 1);
      assert.match(
        stdout,
        /problem: node \S+: no answer from 127\.0\.0\.1:\d+ as user "\w+": login-refused: /,
      );
      assert.doesNotMatch(stdout, /not this one/);
    });

    test('an account that may not read passwords', async (t) => {
      const monitor = {
        user: cluster.user.user,
        password: cluster.user.password,
        database: cluster.user.database,
      };
      const { code, stdout } = await check(t, configured([cluster.primary], { monitor }));
      assert.equal(code, 1, stdout);
      if (kind === 'postgres')
        assert.match(stdout, /problem: passwords cannot be checked: user "app" may not read them/);
      else assert.match(stdout, /problem: /);
    });

    test('no primary among the nodes', async (t) => {
      const { code, stdout } = await check(t, configured(cluster.replicas));
      assert.equal(code, 1);
      assert.match(stdout, /problem: there is no primary: every node that answers is a replica/);
      assert.match(
        stdout,
        /warning: node \S+: replicates from 127\.0\.0\.1:\d+, which is no node of this cluster/,
      );
    });

    test('a node that is not there', async (t) => {
      const config = configured(cluster.nodes) as { clusters: [{ nodes: object[] }] };
      config.clusters[0].nodes.push({ name: 'gone', host: '127.0.0.1', port: 1 });
      const { code, stdout } = await check(t, config);
      assert.equal(code, 1);
      assert.match(stdout, /^ {2}gone +127\.0\.0\.1:1 +no answer/m);
      assert.match(stdout, /problem: node gone: no answer from 127\.0\.0\.1:1 as user "\w+": refused: /);
      assert.match(stdout, /^1 problem$/m);
    });
  });
}

describe('check of strangers', {
  skip:
    skipWithout(available('postgres', 18)) ||
    skipWithout(available('postgres', 15)) ||
    skipWithout(available('mariadb')),
}, () => {
  test('two primaries of different clusters, and a server of another kind', async (t) => {
    const [one, two, other] = await Promise.all([
      startCluster('postgres', { replicas: 0, version: 18 }),
      startCluster('postgres', { replicas: 0, version: 15 }),
      startCluster('mariadb', { replicas: 0 }),
    ]);
    t.after(() => Promise.all([one.stop(), two.stop(), other.stop()]));
    const nodes = [one.primary, two.primary, other.primary].map(({ host, port }, i) => ({
      name: `n${i}`,
      host,
      port,
    }));
    const file = temporaryFolder(t).write('proxy.json', minimal({ nodes, monitor: one.superuser }));
    const { code, stdout } = await scheelite(['check', '--config', file]);
    assert.equal(code, 1);
    assert.match(stdout, /problem: more than one node says that it is the primary: n0, n1/);
    assert.match(
      stdout,
      /problem: nodes of different database clusters, by their system identifier: n0 \(\d+\); n1 \(\d+\)/,
    );
    assert.match(stdout, /problem: node n2: no answer from /);
  });
});
