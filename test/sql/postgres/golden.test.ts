// Checks every row of the golden tables with the stored catalog, so without a server, and from a cold and a warm cache.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';
import { checkDocumentRows } from '../document-rows.js';
import { expectCase } from './expect.js';
import { goldenTables, storedCatalog } from './fixture.js';

const catalog = storedCatalog();
const tables = goldenTables();

for (const [name, cases] of tables) {
  test(`golden table ${name}`, () => {
    // One classifier for the whole table: a case must not depend on what was cached before it.
    const shared = createPostgresClassifier({ catalog: () => catalog });
    for (let round = 0; round < 2; round++) {
      for (const golden of cases) {
        const own = golden.catalog === 'none' || golden.overrides !== undefined;
        const classifier = own
          ? createPostgresClassifier({
              catalog: () => (golden.catalog === 'none' ? null : catalog),
              overrides: golden.overrides ?? {},
            })
          : shared;
        expectCase(golden, classifier);
      }
    }
  });
}

test('the tables are as many as promised', () => {
  let cases = 0;
  for (const table of tables.values()) cases += table.length;
  assert.ok(cases >= 400, `${cases} cases`);
});

test('every row of the document is shown, and each of its words', () => {
  const root = new URL('../../../../', import.meta.url);
  checkDocumentRows(new URL('test/golden/postgres/', root), root, [...tables.values()].flat());
});

test('a case depends neither on its neighbours nor on their order', () => {
  const classifier = createPostgresClassifier({ catalog: () => catalog });
  const cases = [...tables.values()]
    .flat()
    .filter((golden) => golden.catalog === undefined && !golden.overrides);
  for (const golden of [...cases].reverse()) expectCase(golden, classifier);
  const forgetful = createPostgresClassifier({ catalog: () => catalog, cacheEntries: 2 });
  for (const golden of cases) expectCase(golden, forgetful);
});

test('what is not done says what is wanted', () => {
  const cases = tables.get('unsupported') ?? [];
  assert.ok(cases.length >= 10);
  for (const golden of cases) assert.match(golden.comment, /wanted: /);
});
