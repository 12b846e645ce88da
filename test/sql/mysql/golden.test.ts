// Every row of the golden tables gets the class that it names, alone and again from the caches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Classified } from '../../../src/sql/statement.js';
import { checkDocumentRows } from '../document-rows.js';
import { classifyGolden, type GoldenCase, goldenTables, runsOf } from './golden.js';

const fields = ['pin', 'transaction', 'session', 'ddl', 'statements', 'verb'] as const;

function differences(golden: GoldenCase, { statement, shape, hint }: Classified): string[] {
  const wrong: string[] = [];
  const compare = (field: string, actual: unknown, expected: unknown) => {
    try {
      assert.deepEqual(actual, expected);
    } catch {
      wrong.push(`${field}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
    }
  };
  compare('route', statement.route, golden.route);
  for (const field of fields) if (field in golden) compare(field, statement[field], golden[field]);
  // What is not said is not there: a pin or an effect that nobody expected is as wrong as a missing one.
  if (!('pin' in golden)) compare('pin', statement.pin, null);
  compare('tellsOfNode', statement.tellsOfNode ?? false, golden.ofNode ?? false);
  compare('afterWrite', statement.afterWrite ?? false, golden.afterWrite ?? false);
  if ('hint' in golden) compare('hint', hint && Object.fromEntries(hint), golden.hint);
  if ('shape' in golden) compare('shape', shape, golden.shape);
  if ('prepared' in golden) {
    const expected = golden.prepared as Record<string, unknown> & {
      body?: Record<string, unknown> | null;
    };
    const actual = statement.prepared as unknown as Record<string, unknown> | null;
    for (const field of ['kind', 'name']) compare(`prepared.${field}`, actual?.[field], expected[field]);
    const body = actual?.body as Record<string, unknown> | null | undefined;
    if (expected.body === null) compare('prepared.body', body, null);
    else
      for (const [field, value] of Object.entries(expected.body ?? {}))
        compare(`body.${field}`, body?.[field], value);
  }
  return wrong;
}

for (const { name, cases } of goldenTables()) {
  test(`golden table ${name}: ${cases.length} cases`, () => {
    const failures: string[] = [];
    for (const round of ['first', 'cached']) {
      for (const golden of cases) {
        for (const settings of runsOf(golden)) {
          const wrong = differences(golden, classifyGolden(golden, settings));
          for (const line of wrong) {
            failures.push(
              `${settings.flavour} (${round}): ${golden.comment}: ${JSON.stringify(golden.sql)}\n    ${line}`,
            );
          }
        }
      }
    }
    assert.equal(failures.length, 0, `\n${failures.join('\n')}`);
  });
}

test('the tables are as long as they should be', () => {
  const total = goldenTables().reduce((sum, table) => sum + table.cases.length, 0);
  assert.ok(total >= 400, `${total} cases`);
});

test('every row of the document is shown, and each of its words', () => {
  const root = new URL('../../../../', import.meta.url);
  checkDocumentRows(
    new URL('test/golden/mysql/', root),
    root,
    goldenTables().flatMap((table) => table.cases),
  );
});

test('what is not done says what is wanted', () => {
  const cases = goldenTables().find((table) => table.name === 'unsupported')?.cases ?? [];
  assert.ok(cases.length >= 10);
  for (const golden of cases) assert.match(golden.comment, /wanted: /);
});
