// Statement statistics: what is added comes out, a flood of shapes is bounded, and what weighs much stays whatever comes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATEMENT_SORTS, statementsQuery } from '../../src/admin/statements.js';
import {
  onOneLine,
  shapeLabel,
  statementId,
  statementsReport,
  topStatements,
} from '../../src/telemetry/statement-report.js';
import { addSums, noSums, Statements, type StatementsPart } from '../../src/telemetry/statements.js';

function call(statements: Statements, shape: string, nodeMs = 0.1, node = 'a', isReplica = false): void {
  const record = statements.obtain(shape);
  record.calls++;
  record.rows += 2;
  record.bytes += 10;
  record.nodeMs += nodeMs;
  record.maxNodeMs = Math.max(record.maxNodeMs, nodeMs);
  statements.countNode(record, node, isReplica);
}

const shapesOf = (statements: Statements): string[] => [...statements.all()].map(({ shape }) => shape);

function total(statements: Statements): ReturnType<typeof noSums> {
  const sum = noSums();
  addSums(sum, statements.other);
  for (const part of statements.all()) addSums(sum, part);
  return sum;
}

test('what is counted comes out, sorted by whatever is asked', () => {
  const statements = new Statements();
  for (let i = 0; i < 5; i++) call(statements, 'often', 0.25, i < 2 ? 'b' : 'c', true);
  call(statements, 'long', 90);
  call(statements, 'long', 10);
  const clusters = [{ cluster: 'main', statements }];
  const [first, second] = topStatements(clusters, 'time', 10);
  assert.deepEqual(first, {
    ...noSums(),
    cluster: 'main',
    id: statementId('long'),
    shape: 'long',
    calls: 2,
    rows: 4,
    bytes: 20,
    nodeMs: 100,
    maxNodeMs: 90,
    meanNodeMs: 50,
    proxyMs: 0,
    primary: 2,
    byNode: { a: 2 },
  });
  assert.deepEqual(second?.byNode, { b: 2, c: 3 });
  assert.deepEqual([second?.primary, second?.replica], [0, 5]);
  const firstBy = (sort: (typeof STATEMENT_SORTS)[number]) => topStatements(clusters, sort, 1)[0]?.shape;
  assert.equal(firstBy('calls'), 'often');
  assert.equal(firstBy('replica'), 'often');
  assert.equal(firstBy('max'), 'long');
  assert.equal(topStatements(clusters, 'rows', 1).length, 1);
  assert.match(statementId('long'), /^[0-9a-f]{16}$/);
  for (const sort of STATEMENT_SORTS) assert.equal(topStatements(clusters, sort, 10).length, 2, sort);
});

test('a flood of shapes costs bounded memory and work, and what weighs much stays with all its numbers', () => {
  const statements = new Statements({ maxShapes: 500, maxShapeChars: 1_000_000 });
  const flood = 50_000;
  for (let i = 0; i < flood; i++) {
    call(statements, `flood ${i}`);
    if (i % 20 === 0) call(statements, 'popular');
    // One call in 10,000, and slow: an order by recency would lose it, and one by calls too.
    if (i % 10_000 === 0) call(statements, 'slow', 1_000);
    assert.ok(statements.size <= 500);
  }
  const kept = new Map([...statements.all()].map((part) => [part.shape, part]));
  assert.equal(kept.get('popular')?.calls, flood / 20);
  assert.equal(kept.get('slow')?.calls, flood / 10_000);
  assert.equal(kept.get('slow')?.nodeMs, 5_000);
  // A search looks at all shapes: it must be paid for by the twentieth that it makes room for.
  assert.ok(statements.searches <= flood / 25 + 1, `${statements.searches} searches`);
  assert.ok(statements.evicted > flood - 501);
  // Nothing is lost: what is not told by shape is told together.
  const sum = total(statements);
  assert.equal(sum.calls, flood + flood / 20 + flood / 10_000);
  assert.equal(sum.rows, 2 * sum.calls);
});

test('what was heavy once gives way to what is heavy now', () => {
  const statements = new Statements({ maxShapes: 100, maxShapeChars: 1_000_000 });
  for (let k = 0; k < 100; k++) for (let i = 0; i < 20; i++) call(statements, `yesterday ${k}`);
  // Each of today's alone is lighter than any of yesterday's when it comes.
  for (let i = 0; i < 200; i++) for (let k = 0; k < 100; k++) call(statements, `today ${k}`);
  const today = shapesOf(statements).filter((shape) => shape.startsWith('today'));
  assert.ok(today.length >= 90, `${today.length} of today's`);
});

test('shapes are bounded in characters too', () => {
  const statements = new Statements({ maxShapes: 1_000_000, maxShapeChars: 100_000 });
  for (let i = 0; i < 5_000; i++) {
    call(statements, `${i} ${'x'.repeat(1_500)}`);
    assert.ok(statements.chars <= 100_000);
  }
  assert.ok(statements.size > 50);
  assert.equal(total(statements).calls, 5_000);
});

test('what is drained and added elsewhere is the same, once', () => {
  const worker = new Statements({ maxShapes: 50, maxShapeChars: 1_000_000 });
  const supervisor = new Statements({ maxShapes: 50, maxShapeChars: 1_000_000 });
  let calls = 0;
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 40; i++, calls++) call(worker, `shape ${round} ${i}`, 1, round % 2 === 0 ? 'a' : 'b');
    for (let i = 0; i < 10; i++, calls++) call(worker, 'popular', 1, 'c', true);
    const part: StatementsPart = structuredClone(worker.drain(25));
    assert.ok(part.statements.length <= 25);
    supervisor.add(part);
  }
  for (let i = 0; i < 10; i++) supervisor.add(worker.drain(25));
  assert.equal(total(worker).calls, 0);
  assert.equal(total(supervisor).calls, calls);
  assert.equal(worker.evicted, 0);
  const popular = topStatements([{ cluster: 'main', statements: supervisor }], 'calls', 1)[0];
  assert.deepEqual([popular?.shape, popular?.calls, popular?.byNode], ['popular', 200, { c: 200 }]);
});

test('set back, everything begins at 0, and what shapes cost for sharing stays known', () => {
  const statements = new Statements({ maxShapes: 10, maxShapeChars: 1_000 });
  for (let i = 0; i < 30; i++) call(statements, `shape ${i}`);
  statements.obtain('shape 29').costMs = 3;
  statements.reset();
  assert.equal(total(statements).calls, 0);
  assert.deepEqual([...statements.all()], []);
  assert.equal(statements.evicted, 0);
  assert.equal(statements.find('shape 29')?.costMs, 3);
  call(statements, 'shape 29');
  const report = statementsReport([{ cluster: 'main', statements }], 0, {
    sort: 'time',
    limit: 5,
    cluster: null,
  });
  assert.deepEqual(
    report.statements.map(({ shape, calls }) => [shape, calls]),
    [['shape 29', 1]],
  );
  assert.equal(report.since, '1970-01-01T00:00:00.000Z');
  assert.deepEqual(report.clusters[0]?.other, noSums());
});

test('one cluster is told alone', () => {
  const [one, two] = [new Statements(), new Statements()];
  call(one, 'a');
  call(two, 'b');
  const clusters = [
    { cluster: 'one', statements: one },
    { cluster: 'two', statements: two },
  ];
  const query = statementsQuery(new URLSearchParams('cluster=two'));
  assert.ok(typeof query !== 'string');
  const report = statementsReport(clusters, 0, query);
  assert.deepEqual(
    report.statements.map(({ cluster }) => cluster),
    ['two'],
  );
  assert.deepEqual(
    report.clusters.map(({ cluster }) => cluster),
    ['two'],
  );
});

test('a label is bounded and stands on one line', () => {
  assert.equal(shapeLabel('select ?'), 'select ?');
  assert.equal(shapeLabel(`select "${'x'.repeat(500)}"`).length, 100);
  assert.equal(onOneLine('a\u001b[31mb\nc\u2028d\u0085e'), 'a [31mb c d e');
});
