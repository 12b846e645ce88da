// The command lines and the load generator that people use, through the proxy; run for both kinds of cluster.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type Fixture, startFixture } from './harness.js';

const run = promisify(execFile);

const SCRIPT = `
CREATE TABLE cli (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20));
INSERT INTO cli (v) VALUES ('one'), ('two');
SELECT LAST_INSERT_ID();
SET @mine = 7;
SELECT @mine + 1;
BEGIN; INSERT INTO cli (v) VALUES ('undone'); ROLLBACK;
SELECT COUNT(*) FROM cli;
USE information_schema;
SELECT DATABASE();
USE app;
SELECT 1 FROM nowhere;
SHOW WARNINGS;
DROP TABLE cli;
`;

export function programTests(kind: 'mysql' | 'mariadb'): void {
  describe(`programs against ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind);
    });
    after(() => f.stop());

    const login = (): string[] => [
      '--host=127.0.0.1',
      `--port=${f.port}`,
      `--user=${f.cluster.user.user}`,
      `--password=${f.cluster.user.password}`,
    ];

    for (const [name, flag] of [
      ['mysql', '--get-server-public-key'],
      // Against caching_sha2_password this client takes the password to be safe in clear unless it is told otherwise.
      ['mariadb', '--skip-ssl'],
    ] as const)
      it(`the ${name} command line`, async (t) => {
        const program = f.cluster.binaries[name];
        if (program === undefined) return t.skip(`${name} is not installed`);
        const child = run(program, [...login(), flag, '--force', '--skip-column-names', 'app']);
        child.child.stdin!.end(SCRIPT);
        const { stdout, stderr } = await child;
        const lines = stdout.trim().split('\n');
        assert.deepEqual(lines.slice(0, 4), ['1', '8', '2', 'information_schema']);
        assert.match(lines[4]!, /1146.*nowhere/);
        assert.match(stderr, /ERROR 1146/);
        await assert.rejects(
          run(program, [...login(), '--password=wrong', flag, '-e', 'SELECT 1', 'app']),
          /1045/,
        );
      });

    it('sysbench oltp_read_write has no error and reads on replicas', async (t) => {
      const program = f.cluster.binaries.sysbench;
      if (program === undefined) return t.skip('sysbench is not installed');
      // Its library needs the password in the cache, or TLS.
      await (await f.connect()).query('SELECT 1');
      const sysbench = (test: string, ...rest: string[]): Promise<{ stdout: string }> =>
        run(program, [
          test,
          '--db-driver=mysql',
          '--mysql-host=127.0.0.1',
          `--mysql-port=${f.port}`,
          `--mysql-user=${f.cluster.user.user}`,
          `--mysql-password=${f.cluster.user.password}`,
          '--mysql-db=app',
          '--tables=4',
          '--table-size=20000',
          ...rest,
        ]);
      const deadlocks = async (): Promise<number> => {
        const sql = "SELECT count AS n FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
        const [row] = await f.cluster.primary.admin(sql);
        return Number(row!.n);
      };
      await sysbench('oltp_read_write', 'prepare');
      const deadlocksBefore = await deadlocks();
      const { stdout } = await sysbench('oltp_read_write', '--threads=16', '--time=5', 'run');
      // Sixteen threads may deadlock by themselves; sysbench goes on then, and ends with any other error.
      const ignored = Number(/ignored errors: +(\d+) /.exec(stdout)![1]);
      assert.equal(ignored, (await deadlocks()) - deadlocksBefore);
      assert.match(stdout, /reconnects: +0 /);
      assert.match(stdout, /transactions: +[1-9]/);
      const selects = (): Promise<number[]> =>
        Promise.all(f.cluster.nodes.map((node) => f.count(node, 'Com_select')));
      await f.cluster.waitCaughtUp();
      for (const mode of ['auto', 'disable']) {
        const before = await selects();
        const read = await sysbench(
          'oltp_point_select',
          '--threads=16',
          '--time=3',
          `--db-ps-mode=${mode}`,
          'run',
        );
        const [primary, ...replicas] = (await selects()).map((count, i) => count - before[i]!);
        const total = Number(/transactions: +(\d+)/.exec(read.stdout)![1]);
        // How they share is theirs to say who test balancing: a slow one gets less, and sessions stay where they are.
        for (const count of replicas) assert.ok(count > 0, `${mode}: ${count} of ${total}`);
        assert.ok(primary! < total / 20, `${mode}: ${primary} on the primary`);
      }
    });
  });
}
