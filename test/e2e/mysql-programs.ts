// The command-line programs of MySQL and MariaDB, and sysbench, through the proxy.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../servers/poll.js';
import type { Address } from './driver.js';
import { running } from './mysql-activity.js';
import { run, start, succeed } from './programs.js';
import type { Stage } from './stage.js';

/** Statement after statement with what a client prints: the same with and without the proxy. */
const SCRIPT = `
CREATE TABLE typed (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50), price decimal(10,2), at datetime);
INSERT INTO typed (name, price, at) VALUES ('a', 1.5, '2026-01-02 03:04:05'), ('b', NULL, NULL);
SELECT LAST_INSERT_ID(), ROW_COUNT();
SELECT * FROM typed ORDER BY id;
SHOW COLUMNS FROM typed;
INSERT INTO typed (name) VALUES (REPEAT('x', 60));
INSERT IGNORE INTO typed (name) VALUES (REPEAT('x', 60));
SHOW WARNINGS;
DELIMITER //
CREATE PROCEDURE two_results(IN n int)
BEGIN
  SELECT n AS first;
  SELECT n + 1 AS second;
END //
DELIMITER ;
CALL two_results(41);
START TRANSACTION;
UPDATE typed SET price = price * 2 WHERE id = 1;
SELECT price FROM typed WHERE id = 1;
ROLLBACK;
SELECT price FROM typed WHERE id = 1;
SET @seen := 7;
SELECT @seen + 1 AS later;
SELECT * FROM nowhere;
USE nowhere;
SELECT DATABASE();
SHOW TABLES LIKE 'typed';
DROP PROCEDURE two_results;
DROP TABLE typed;
`;

export async function programTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const { user, password, database } = cluster.user;
  const front = await stage.front(t);
  const login = (at: Address) => [
    '--no-defaults',
    '--protocol=tcp',
    `--host=${at.host}`,
    `--port=${at.port}`,
    `--user=${user}`,
    `--password=${password}`,
  ];
  // Without TLS the first login sends the password under the server's public key, which MySQL's client must be allowed to
  // ask for; MariaDB's client sends it in cleartext, in vain, unless it is told that there is no TLS.
  const clients = [
    {
      name: 'mysql',
      program: cluster.binaries.mysql,
      plain: ['--ssl-mode=DISABLED', '--get-server-public-key'],
    },
    { name: 'mariadb', program: cluster.binaries.mariadb, plain: ['--skip-ssl'] },
  ];

  for (const { name, program, plain } of clients) {
    if (program === undefined) {
      t.diagnostic(`${name} is not installed`);
      continue;
    }
    const at = (address: Address, ...args: string[]) => [...login(address), ...plain, ...args, database];

    await t.test(`${name}: a script prints the same as without the proxy`, async (t) => {
      const print = async (address: Address) => {
        const ended = await run(t, program, at(address, '--force', '--table', '--unbuffered'), {
          stdin: SCRIPT,
        });
        return { stdout: ended.stdout, stderr: complaints(ended.stderr) };
      };
      const direct = await print(cluster.primary);
      const proxied = await print(front.proxy);
      assert.deepEqual(proxied, direct);
      assert.match(proxied.stdout, /\| +42 \|/);
      assert.match(proxied.stderr, /ERROR 1146 \(42S02\) at line \d+: Table 'app.nowhere' doesn't exist/);
    });

    await t.test(`${name}: Ctrl-C kills the statement`, async (t) => {
      // Waits for a row: SLEEP() would answer the kill with a value.
      const holder = await front.connect(t);
      await holder.query('BEGIN');
      await holder.query("UPDATE items SET name = 'held' WHERE id = 1");
      const sql = "UPDATE items SET name = 'wanted' WHERE id = 1";
      const asked = start(t, program, at(front.proxy, '-e', sql));
      await until('the statement to run', async () => (await running(stage, sql)) === 1);
      asked.process.kill('SIGINT');
      const { code, stderr } = await asked.ended;
      assert.notEqual(code, 0);
      assert.match(stderr, /ERROR 1317 \(70100\) at line 1: Query execution was interrupted/);
      await until('it to be over', async () => (await running(stage, sql)) === 0);
      await holder.query('ROLLBACK');
    });

    await t.test(`${name}: LOAD DATA LOCAL INFILE`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'scheelite-load-'));
      t.after(() => rmSync(folder, { recursive: true }));
      const file = join(folder, 'rows.txt');
      const rows = Array.from({ length: 3000 }, (_, i) => `${100_000 + i}\tnote ${i}\n`);
      writeFileSync(file, rows.join(''));
      const load = `DELETE FROM notes WHERE id >= 100000; LOAD DATA LOCAL INFILE '${file}' INTO TABLE notes; SELECT COUNT(*) FROM notes WHERE id >= 100000`;
      const out = await succeed(t, program, at(front.proxy, '--local-infile=1', '-BNe', load));
      assert.equal(out, '3000\n');
      await succeed(t, program, at(front.proxy, '-e', 'DELETE FROM notes WHERE id >= 100000'));
    });

    await t.test(`${name}: a wrong password, an unknown user, an unknown database`, async (t) => {
      const ask = (...args: string[]) =>
        run(t, program, [...login(front.proxy), ...plain, ...args, '-e', 'SELECT 1'], { stdin: '' });
      assert.match(
        (await ask('--password=wrong')).stderr,
        /ERROR 1045 \(28000\): Access denied for user 'app'@'127\.0\.0\.1' \(using password: YES\)/,
      );
      assert.match(
        (await ask('--user=nobody')).stderr,
        /ERROR 1045 \(28000\): Access denied for user 'nobody'@'127\.0\.0\.1' \(using password: YES\)/,
      );
      assert.match((await ask('nowhere')).stderr, /ERROR (1049 \(42000\)|1044 \(42000\)): /);
      assert.equal(
        await succeed(t, program, at(front.proxy, '-BNe', 'SELECT DATABASE(), CURRENT_USER()')),
        'app\tapp@%\n',
      );
    });
  }

  if (cluster.binaries.sysbench !== undefined) {
    const sysbench = cluster.binaries.sysbench;
    const common = [
      '--db-driver=mysql',
      `--mysql-host=${front.proxy.host}`,
      `--mysql-port=${front.proxy.port}`,
      `--mysql-user=${user}`,
      `--mysql-password=${password}`,
      `--mysql-db=${database}`,
      '--tables=2',
      '--table-size=1000',
      '--threads=16',
      '--time=0',
    ];
    const servedBy = async () => {
      await front.refresh();
      return stage.replicaNames.map((name) => front.node(name).units.replica);
    };
    await t.test(
      'sysbench: prepare, oltp_read_write, oltp_point_select with and without prepared statements',
      async (t) => {
        await succeed(t, sysbench, ['oltp_read_write', ...common, 'prepare']);
        await cluster.waitCaughtUp();
        for (const mode of ['auto', 'disable']) {
          const mixed = await succeed(t, sysbench, [
            'oltp_read_write',
            ...common,
            '--events=200',
            `--db-ps-mode=${mode}`,
            'run',
          ]);
          assert.match(mixed, /transactions: +200 /);
          assert.match(mixed, /reconnects: +0 /);
          const before = await servedBy();
          const reads = await succeed(t, sysbench, [
            ...['oltp_point_select', ...common, '--events=1000', `--db-ps-mode=${mode}`, 'run'],
          ]);
          assert.match(reads, /ignored errors: +0 /);
          const after = await servedBy();
          const served = after.map((count, i) => count - before[i]!);
          assert.ok(served.reduce((a, b) => a + b) >= 1000, `${served} reads on replicas`);
        }
      },
    );
  } else {
    t.diagnostic('sysbench is not installed');
  }
}

/** Without what the clients say about passwords on the command line. */
function complaints(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !/password on the command line|Deprecated program name/.test(line))
    .join('\n');
}
