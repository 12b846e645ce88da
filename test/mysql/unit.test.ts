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

/** COM_STMT_EXECUTE of statement 7 with three parameters, the second NULL, cut from a pool in which others' bytes are. */
function executeIn(pool: Buffer, at: number): MysqlUnit {
  const types = [3, 0, 6, 0, 253, 0];
  const values = [42, 0, 0, 0, 2, 0xe4, 0x69];
  const payload = [COM.STMT_EXECUTE, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0b010, 1, ...types, ...values];
  const frame = pool.subarray(at, at + 4 + payload.length);
  frame.set([payload.length, 0, 0, 0, ...payload]);
  const unit = new MysqlUnit('execute', 'query', UNCLASSIFIED, frame);
  unit.executes(parseExecute(payloadOf(frame), 3, CAPABILITIES), {
    parameters: 3,
    capabilities: CAPABILITIES,
  });
  return unit;
}

function bytesOf({ frame, execute }: MysqlUnit): Buffer[] {
  const parts = execute === null ? [] : [execute.nullBitmap, execute.types!, execute.values];
  return [frame, ...parts].map((part) => Buffer.from(part));
}

test('what is kept is what came, whatever becomes of the memory that it came in', () => {
  const pool = Buffer.alloc(1_000, 0xee);
  const long = `SELECT '${'x'.repeat(300)}'`;
  const units = [
    executeIn(pool, 100),
    executeIn(pool, 500),
    ...['SELECT 1', 'SELECT 1', long, long].map(unitOf),
  ];
  const before = units.map(bytesOf);
  const lengths = units.map(({ bytes }) => bytes);
  for (const unit of units) unit.keep();
  pool.fill(0);
  assert.deepEqual(units.map(bytesOf), before);
  // Once for all, and again: the second time there is nothing to do.
  for (let i = 0; i < 2; i++) {
    const held = new Map<string, string>();
    for (const unit of units) unit.holdOnce(held);
    for (const unit of units) unit.keep();
    assert.deepEqual(
      [...held.keys()],
      [before[0]![0]!, before[2]![0]!].map((frame) => frame.toString('latin1')),
    );
  }
  assert.deepEqual(units.map(bytesOf), before);
  assert.deepEqual(
    units.map(({ bytes }) => bytes),
    lengths,
  );
  assert.equal(units[0]!.execute!.statementId, 7);
  assert.equal(units[2]!.execute, null);
});

test('what is not kept is not held', () => {
  const held = new Map<string, string>();
  unitOf('SELECT 1').holdOnce(held);
  assert.equal(held.size, 0);
});
