// What units hold in memory. Their way through the proxy is tested against real servers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MysqlUnit, UNCLASSIFIED } from '../../src/mysql/unit.js';
import { buildQuery, COM } from '../../src/mysql/wire/command.js';
import { parseExecute } from '../../src/mysql/wire/execute.js';
import { payloadOf } from '../../src/mysql/wire/framer.js';

const CAPABILITIES = { flags: 0, mariadb: 0 };

function unitOf(sql: string): MysqlUnit {
  return new MysqlUnit('query', 'results', UNCLASSIFIED, buildQuery(sql, CAPABILITIES));
}

test('equal frames are held once, others and long ones by themselves', () => {
  const held = new Map<string, Buffer>();
  const long = `SELECT '${'x'.repeat(300)}'`;
  const units = ['SELECT 1', 'SELECT 2', 'SELECT 1', long, long].map(unitOf);
  const before = units.map(({ frame }) => Buffer.from(frame));
  for (const unit of units) unit.holdApart(held);
  const [one, two, again, text, textAgain] = units as [MysqlUnit, MysqlUnit, MysqlUnit, MysqlUnit, MysqlUnit];
  assert.equal(again.frame, one.frame);
  assert.notEqual(two.frame, one.frame);
  assert.notEqual(textAgain.frame, text.frame);
  assert.deepEqual(
    units.map(({ frame }) => frame),
    before,
  );
});

/** COM_STMT_EXECUTE of statement 7 with three parameters, the second NULL, cut from a pool in which others' bytes are. */
function executeIn(pool: Buffer, at: number): MysqlUnit {
  const types = [3, 0, 6, 0, 253, 0];
  const payload = [
    COM.STMT_EXECUTE,
    7,
    0,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    0b010,
    1,
    ...types,
    42,
    0,
    0,
    0,
    2,
    0x68,
    0x69,
  ];
  const frame = pool.subarray(at, at + 4 + payload.length);
  frame.set([payload.length, 0, 0, 0, ...payload]);
  const unit = new MysqlUnit('execute', 'query', UNCLASSIFIED, frame);
  unit.execute = parseExecute(payloadOf(frame), 3, CAPABILITIES);
  return unit;
}

function bytesOf({ frame, execute }: MysqlUnit): Buffer[] {
  return [frame, execute!.nullBitmap, execute!.types!, execute!.values].map((part) => Buffer.from(part));
}

test('what is kept for long has memory of its own, the parts of an execution too', () => {
  const pool = Buffer.alloc(1_000, 0xee);
  const unit = executeIn(pool, 100);
  const before = bytesOf(unit);
  unit.holdApart(null);
  assert.equal(unit.frame.buffer, pool.buffer, 'it may be gone soon');
  unit.holdApart(null);
  pool.fill(0);
  assert.deepEqual(bytesOf(unit), before);
  const { frame, execute } = unit;
  for (const part of [execute!.nullBitmap, execute!.types!, execute!.values])
    assert.equal(part.buffer, frame.buffer);
  assert.equal(frame.buffer.byteLength, frame.length);
  unit.holdApart(null);
  assert.equal(unit.frame, frame, 'once is enough');
});

test('equal executions are held once, with their parts', () => {
  const pool = Buffer.alloc(1_000, 0xee);
  const units = [executeIn(pool, 100), executeIn(pool, 500)];
  const before = units.map(bytesOf);
  const held = new Map<string, Buffer>();
  for (const unit of units) unit.holdApart(held);
  pool.fill(0);
  assert.deepEqual(units.map(bytesOf), before);
  assert.equal(units[1]!.frame, units[0]!.frame);
  assert.equal(units[1]!.execute!.values.buffer, units[0]!.frame.buffer);
});
