// Compares what a classifier says of a statement with a row of a golden table.

import assert from 'node:assert/strict';
import type { Classifier, PostgresLexSettings, StatementClass } from '../../../src/sql/statement.js';
import type { GoldenCase } from './fixture.js';

export function expectCase(golden: GoldenCase, classifier: Classifier<PostgresLexSettings>): void {
  const settings = golden.settings ?? { standardConformingStrings: true };
  const { statement, hint } = classifier.classify(Buffer.from(golden.sql), settings);
  const where = `${golden.comment}: ${golden.sql}\n${JSON.stringify(statement)}`;
  assert.equal(statement.route, golden.route, where);
  assert.equal(statement.pin, golden.pin ?? null, where);
  assert.equal(statement.tellsOfNode === true, golden.ofNode === true, where);
  assert.deepEqual(statement.transaction, golden.transaction ?? null, where);
  assert.deepEqual(statement.session, golden.session ?? [], where);
  assert.deepEqual(shortened(statement), golden.prepared ?? null, where);
  if (golden.ddl !== undefined) assert.equal(statement.ddl, golden.ddl, where);
  if (golden.verb !== undefined) assert.equal(statement.verb, golden.verb, where);
  if (golden.statements !== undefined) assert.equal(statement.statements, golden.statements, where);
  if (golden.reason !== undefined)
    assert.match(statement.reasons.join('\n'), new RegExp(golden.reason), where);
  if (golden.hint !== undefined) assert.deepEqual(hint && Object.fromEntries(hint), golden.hint, where);
  // An operator must be told why a statement does not go where reads go.
  if (statement.route === 'primary') assert.notEqual(statement.reasons.length, 0, where);
}

function shortened({ prepared }: StatementClass): GoldenCase['prepared'] | null {
  if (prepared === null) return null;
  return prepared.kind === 'prepare' ? { ...prepared, body: prepared.body?.route ?? 'primary' } : prepared;
}
