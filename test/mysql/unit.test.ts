// What units hold in memory. Their way through the proxy is tested against real servers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MysqlUnit, UNCLASSIFIED } from '../../src/mysql/unit.js';
import { buildQuery } from '../../src/mysql/wire/command.js';

function unitOf(sql: string): MysqlUnit {
  return new MysqlUnit('query', 'results', UNCLASSIFIED, buildQuery(sql, { flags: 0, mariadb: 0 }));
}

test('equal frames are held once, others and long ones as they are', () => {
  const held = new Map<string, Buffer>();
  const long = `SELECT '${'x'.repeat(300)}'`;
  const units = ['SELECT 1', 'SELECT 2', 'SELECT 1', long, long].map(unitOf);
  const before = units.map(({ frame }) => Buffer.from(frame));
  for (const unit of units) unit.holdOnce(held);
  const [one, two, again, text, textAgain] = units as [MysqlUnit, MysqlUnit, MysqlUnit, MysqlUnit, MysqlUnit];
  assert.equal(again.frame, one.frame);
  assert.notEqual(two.frame, one.frame);
  assert.notEqual(textAgain.frame, text.frame);
  assert.deepEqual(
    units.map(({ frame }) => frame),
    before,
  );
});
