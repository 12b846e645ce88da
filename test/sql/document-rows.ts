// Checks that the golden tables hold the rows of the document they come from (rows.json): that each has its cases or the test that
// shows it, and that each word of a row stands in one of its cases. It knows no dialect and classifies nothing.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';

interface DocumentRow {
  readonly id: string;
  readonly section: string;
  /** The row as the document has it. */
  readonly row: string;
  /** The document's letters for the route. */
  readonly route: string;
  /** Files with a test, and its name: for what no classification shows. */
  readonly shown?: readonly (readonly [file: string, test: string])[];
  /** Words of the row that are no statement's. */
  readonly besides?: readonly string[];
}

interface RowCase {
  readonly comment: string;
  readonly sql: string;
  readonly row?: string;
  readonly route: string;
  readonly pin?: unknown;
  readonly settings?: unknown;
  readonly overrides?: unknown;
}

/** What is written in capitals, or with underscores, is said by somebody to a server. */
const said = /(?<![\w@])(?:@@)?(?:[A-Z]{2,}(?:_[A-Z]+)*|[a-z]+(?:_[a-z0-9]+)+)\b/g;
const letters: ReadonlySet<string> = new Set(['PIN', 'OK', 'DDL', 'DML', 'PS', 'XX']);

/** `root` is the folder that has `test/` in it. */
export function checkDocumentRows(folder: URL, root: URL, cases: readonly RowCase[]): void {
  const rows = JSON.parse(readFileSync(new URL('rows.json', folder), 'utf8')) as DocumentRow[];
  const ids = new Set(rows.map((row) => row.id));
  assert.equal(ids.size, rows.length, 'two rows have one id');
  for (const { row, sql } of cases) assert.ok(row === undefined || ids.has(row), `${row} is no row: ${sql}`);
  for (const { id, row, route, shown = [], besides = [] } of rows) {
    const own = cases.filter((golden) => golden.row === id);
    assert.ok(own.length + shown.length > 0, `nothing shows: ${row}`);
    for (const [file, name] of shown) {
      const path = new URL(file, root);
      assert.ok(existsSync(path) && readFileSync(path, 'utf8').includes(name), `${file} has no "${name}"`);
    }
    for (const { sql, route: actual, pin, settings, overrides } of own) {
      // A setting or an override may be the exception that the row itself makes.
      if (settings !== undefined || overrides !== undefined) continue;
      if (route === 'R') assert.equal(actual, 'replica', sql);
      if (route === 'P' || route === 'P, PIN') assert.equal(actual, 'primary', sql);
      if (route === 'PIN' || route === 'P, PIN') assert.ok(pin !== undefined && pin !== null, sql);
      if (route === 'L' || route === 'B') assert.equal(actual, 'last', sql);
      if (route === 'S') assert.equal(actual, 'session', sql);
    }
    if (own.length === 0) continue;
    const texts = own.map(({ sql, comment }) => `${sql}\n${comment}`.toLowerCase()).join('\n');
    const missing = [...row.matchAll(said)]
      .map(([word]) => word)
      .filter((word) => !letters.has(word) && !besides.includes(word) && !texts.includes(word.toLowerCase()));
    assert.deepEqual(missing, [], `words of the row "${row}" that no case has`);
  }
}
