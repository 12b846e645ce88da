// Every golden case that is classed a read runs on a real read-only replica without being refused as a write, and leaves
// no trace in its history.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  buildMysqlCatalog,
  MYSQL_CATALOG_QUERIES,
  type MysqlCatalogRows,
} from '../../../src/sql/mysql/catalog.js';
import type { MysqlLexSettings } from '../../../src/sql/statement.js';
import { available, skipWithout } from '../../servers/available.js';
import { startCluster, type TestNode } from '../../servers/cluster.js';
import { bytesOf, classifyGolden, goldenTables, runsOf, settingsOf } from './golden.js';
import { RawConnection } from './raw-connection.js';
import { schemaOf } from './schema.js';

/** ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE. */
const refusals = new Set([1290, 1792, 1836]);
const syntaxError = 1064;
/** The schema has a function that says that it writes. */
const settings = { 'log-bin-trust-function-creators': 'ON' };

function modesOf(settings: MysqlLexSettings): string {
  const modes: string[] = [];
  if (settings.ansiQuotes) modes.push('ANSI_QUOTES');
  if (settings.noBackslashEscapes) modes.push('NO_BACKSLASH_ESCAPES');
  if (settings.oracleMode) modes.push('ORACLE');
  return modes.join(',');
}

async function historyOf(node: TestNode, flavour: 'mysql' | 'mariadb'): Promise<unknown> {
  const variable = flavour === 'mysql' ? '@@global.gtid_executed' : '@@global.gtid_binlog_pos';
  return (await node.admin(`SELECT ${variable} AS history`))[0]?.history;
}

for (const flavour of ['mysql', 'mariadb'] as const) {
  test(`${flavour}: what is classed a read runs on a replica`, {
    skip: skipWithout(available(flavour)),
  }, async (t) => {
    const cluster = await startCluster(flavour, { replicas: 1, settings });
    t.after(() => cluster.stop());
    const { primary, user } = cluster;
    for (const statement of schemaOf(flavour, user.user)) await primary.admin(statement);
    await cluster.waitCaughtUp();
    const replica = cluster.replicas[0]!;
    const before = await historyOf(replica, flavour);

    const failures: string[] = [];
    let ran = 0;
    let answered = 0;
    for (const { name, cases } of goldenTables()) {
      // A prepared statement's question marks are no text.
      if (name === 'prepared') continue;
      for (const golden of cases) {
        for (const modes of runsOf(golden)) {
          if (modes.flavour !== flavour || modes.versionNumber !== settingsOf(flavour).versionNumber)
            continue;
          const { statement } = classifyGolden(golden, modes);
          if (statement.route !== 'replica') continue;
          const connection = await RawConnection.open(replica, user, 'shop');
          const { characterSet } = modes;
          await connection.run(
            `SET NAMES ${characterSet === 'gb18030' && flavour === 'mariadb' ? 'gbk' : characterSet}`,
          );
          await connection.run(`SET SESSION sql_mode = '${modesOf(modes)}'`);
          const answer = await connection.run(bytesOf(golden, modes));
          connection.close();
          ran++;
          const where = `${name}: ${golden.comment}: ${JSON.stringify(golden.sql)}`;
          if (answer.errno === 0) {
            answered++;
            if (answer.results !== statement.statements) {
              failures.push(`${where}: ${answer.results} results of ${statement.statements} statements`);
            }
          } else if (refusals.has(answer.errno) || answer.errno === syntaxError) {
            failures.push(`${where}: ${answer.errno} ${answer.message}`);
          }
        }
      }
    }
    t.diagnostic(`${ran} reads, ${answered} answered without any error`);
    assert.deepEqual(failures, []);
    // The others name what the schema does not have; a few may, most must not, or this would show nothing.
    assert.ok(answered > 0.7 * ran, `${answered} of ${ran} reads were answered`);
    assert.deepEqual(await historyOf(replica, flavour), before);
  });

  test(`${flavour}: what is tracked can be said again`, {
    skip: skipWithout(available(flavour)),
  }, async (t) => {
    const cluster = await startCluster(flavour, { replicas: 0, settings });
    t.after(() => cluster.stop());
    const { primary, user } = cluster;
    for (const statement of schemaOf(flavour, user.user)) await primary.admin(statement);
    const failures: string[] = [];
    let said = 0;
    for (const { cases } of goldenTables()) {
      for (const golden of cases) {
        for (const modes of runsOf(golden).filter((run) => run.flavour === flavour)) {
          const { statement } = classifyGolden(golden, modes);
          if (statement.route !== 'session') continue;
          const whole = await RawConnection.open(primary, user, 'shop');
          const parts = await RawConnection.open(primary, user, 'shop');
          const first = await whole.run(bytesOf(golden, modes));
          let errno = 0;
          for (const effect of statement.session) {
            if (effect.kind !== 'set') continue;
            said++;
            const answer = await parts.run(effect.sql);
            errno ||= answer.errno;
          }
          whole.close();
          parts.close();
          if (statement.session.some((effect) => effect.kind === 'use')) continue;
          if (errno !== first.errno)
            failures.push(`${JSON.stringify(golden.sql)}: ${first.errno}, said again ${errno}`);
        }
      }
    }
    assert.deepEqual(failures, []);
    assert.ok(said > 30, `${said} effects`);
  });

  test(`${flavour}: the catalog of a real server`, { skip: skipWithout(available(flavour)) }, async (t) => {
    const cluster = await startCluster(flavour, { replicas: 0, settings });
    t.after(() => cluster.stop());
    const { primary, user } = cluster;
    for (const statement of schemaOf(flavour, user.user)) await primary.admin(statement);
    const read = async (query: keyof typeof MYSQL_CATALOG_QUERIES) =>
      primary.admin(MYSQL_CATALOG_QUERIES[query]);
    const rows = {
      routines: await read('routines'),
      parameters: await read('parameters'),
      views: await read('views'),
      sequences: flavour === 'mariadb' ? await read('sequences') : [],
      loadable: await read('loadable'),
    } as unknown as MysqlCatalogRows;
    const catalog = buildMysqlCatalog(rows, settingsOf(flavour));
    const readers = ['reader', 'plain', 'reader_of_readers', 'both_ways', 'writes'].filter((name) =>
      catalog.readsOnly('shop', name),
    );
    assert.deepEqual(readers, ['reader', 'plain', 'reader_of_readers', 'both_ways']);
    assert.deepEqual(
      ['v_plain', 'v_reads', 'v_writes'].filter((name) => catalog.impureViews.has(name)),
      ['v_writes'],
    );
    assert.deepEqual([...catalog.sequences], flavour === 'mariadb' ? ['s'] : []);
  });
}
