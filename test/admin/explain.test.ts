// What may be asked about statements and sessions: every mistake is said, and none repeats the statement.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clusterAsked,
  type ExplainRequest,
  explainRequest,
  mergeSessions,
  type SessionReport,
  sessionsRequest,
} from '../../src/admin/explain.js';
import { startAdminServer } from '../../src/admin/server.js';
import type { AdminSource } from '../../src/admin/source.js';

const NOTHING = { cluster: null, session: null, user: null, database: null, application: null };

test('a request says what it means, and everything but the statement may be absent', () => {
  assert.deepEqual(explainRequest('{"sql":"SELECT 1"}'), { ...NOTHING, sql: 'SELECT 1' });
  assert.deepEqual(explainRequest('{"sql":"","session":7,"cluster":"main","user":null}'), {
    ...NOTHING,
    sql: '',
    session: 7,
    cluster: 'main',
  });
  assert.deepEqual(explainRequest('{"sql":"x","user":"u","database":"d","application":"a"}'), {
    ...NOTHING,
    sql: 'x',
    user: 'u',
    database: 'd',
    application: 'a',
  });
});

const MISTAKES: readonly (readonly [body: string, message: RegExp])[] = [
  ['', /^the body is not JSON$/],
  ['SELECT secret', /^the body is not JSON$/],
  ['[]', /^the body is not an object$/],
  ['null', /^the body is not an object$/],
  ['{}', /^sql: a text$/],
  ['{"sql":["secret"]}', /^sql: a text$/],
  [
    '{"sql":"secret","sesion":1}',
    /^unknown key; there are: sql, cluster, session, user, database, application$/,
  ],
  ['{"sql":"secret","session":"1"}', /^session: /],
  ['{"sql":"secret","session":0}', /^session: /],
  ['{"sql":"secret","session":1.5}', /^session: /],
  ['{"sql":"secret","cluster":1}', /^cluster: a text/],
  [`{"sql":"secret","user":"${'x'.repeat(257)}"}`, /^user: a text of at most 256/],
  ['{"sql":"secret","session":1,"user":"u"}', /^session: it has a user/],
];

for (const [body, message] of MISTAKES)
  test(`a mistake: ${body.slice(0, 60) || '(empty)'}`, () => {
    const answer = explainRequest(body);
    assert.equal(typeof answer, 'string');
    assert.match(answer as string, message);
    assert.doesNotMatch(answer as string, /secret/);
  });

test('sessions: parameters and their limits', () => {
  const of = (query: string) => sessionsRequest(new URLSearchParams(query));
  assert.deepEqual(of(''), { cluster: null, user: null, limit: 100 });
  assert.deepEqual(of('cluster=a&user=b&limit=1000'), { cluster: 'a', user: 'b', limit: 1000 });
  for (const wrong of ['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'limt=1'])
    assert.equal(typeof of(wrong), 'string', wrong);
});

test('the cluster that is meant', () => {
  assert.equal(clusterAsked(null, ['a']), 'a');
  assert.equal(clusterAsked('b', ['a', 'b']), 'b');
  assert.deepEqual(clusterAsked(null, ['a', 'b']), {
    problem: 'there is more than one cluster; name one of: a, b',
  });
  assert.deepEqual(clusterAsked('c', ['a', 'b']), {
    problem: 'there is no cluster of that name; there is: a, b',
  });
});

test('sessions of several processes: who does something first, then by number, and no more than asked for', () => {
  const session = (id: number, changes: Partial<SessionReport> = {}): SessionReport => ({
    id,
    cluster: 'main',
    listener: 'l',
    user: 'u',
    database: 'd',
    application: '',
    address: '',
    state: 'idle',
    transaction: 'idle',
    pins: [],
    node: null,
    shared: false,
    shape: null,
    ...changes,
  });
  const merged = mergeSessions(
    [
      { total: 3, sessions: [session(4), session(2, { node: 'a', pins: ['listen'] })] },
      { total: 2, sessions: [session(3), session(5, { state: 'running', node: 'a' })] },
    ],
    3,
  );
  assert.equal(merged.total, 5);
  assert.deepEqual(
    merged.sessions.map(({ id }) => id),
    [5, 2, 3],
  );
});

test('over HTTP: no token is needed, what cannot be answered is 404, a statement may be long, mistakes are 400', async (t) => {
  const asked: ExplainRequest[] = [];
  const source: AdminSource = {
    status: () => assert.fail(),
    ready: () => ({ ok: true, reasons: [] }),
    metrics: () => assert.fail(),
    reload: () => assert.fail(),
    statements: () => assert.fail(),
    resetStatements: () => assert.fail(),
    explain: async (request) => {
      asked.push(request);
      return { problem: 'nobody knows' };
    },
    sessions: async ({ limit }) => ({ total: limit, sessions: [] }),
  };
  const server = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: () => 'secret',
    source,
    onError: (error) => assert.fail(String(error)),
  });
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.port}/api/v1`;
  const post = (body: string) => fetch(`${url}/explain`, { method: 'POST', body });
  const answer = await post(JSON.stringify({ sql: 'x'.repeat(300_000) }));
  assert.equal(answer.status, 404);
  assert.deepEqual(await answer.json(), { error: 'nobody knows' });
  assert.equal(asked[0]?.sql.length, 300_000);
  assert.equal((await post('{')).status, 400);
  assert.equal((await post('x'.repeat(1_100_000)).catch(() => ({ status: 413 }))).status, 413);
  assert.equal((await fetch(`${url}/explain?sql=x`)).status, 405);
  assert.deepEqual(await (await fetch(`${url}/sessions?limit=7`)).json(), { total: 7, sessions: [] });
  assert.equal((await fetch(`${url}/sessions?limit=no`)).status, 400);
});
