// The admin HTTP server over real HTTP: what each address answers, what is refused, and that bad input hurts nobody.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { type AdminServer, startAdminServer } from '../../src/admin/server.js';
import type { AdminSource, ReloadReport, StatusReport } from '../../src/admin/source.js';
import type { StatementsQuery, StatementsReport } from '../../src/admin/statements.js';

const STATUS: StatusReport = {
  version: '1.2.3',
  pid: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeSeconds: 5,
  state: 'running',
  listeners: [],
  clusters: [],
  config: { path: '/etc/proxy.json', revision: 1, lastReload: null },
};

const REPORT: StatementsReport = {
  since: '2026-01-01T00:00:00.000Z',
  sort: 'calls',
  statements: [],
  clusters: [],
};

interface Fixture {
  readonly url: string;
  readonly server: AdminServer;
  readonly errors: unknown[];
  token: string | null;
  ready: { ok: boolean; reasons: string[] };
  reload: ReloadReport;
  reloads: number;
  resets: number;
  readonly queries: readonly StatementsQuery[];
}

async function start(t: TestContext, overrides: Partial<AdminSource> = {}): Promise<Fixture> {
  const fixture = {
    token: 'let me in' as string | null,
    ready: { ok: true, reasons: [] as string[] },
    reload: {
      at: '2026-01-01T00:00:00.000Z',
      trigger: 'api',
      outcome: 'applied',
      lines: ['a'],
      warnings: [],
    } as ReloadReport,
    reloads: 0,
    resets: 0,
    queries: [] as StatementsQuery[],
    errors: [] as unknown[],
  };
  const source: AdminSource = {
    status: () => STATUS,
    ready: () => fixture.ready,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' }),
    statements: (query) => {
      fixture.queries.push(query);
      return REPORT;
    },
    resetStatements: () => {
      fixture.resets++;
    },
    explain: async () => ({ problem: 'nobody knows' }),
    sessions: async () => ({ total: 0, sessions: [] }),
    reload: async () => {
      fixture.reloads++;
      return fixture.reload;
    },
    ...overrides,
  };
  const server = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: () => fixture.token,
    source,
    onError: (error) => fixture.errors.push(error),
  });
  t.after(() => server.close());
  return Object.assign(fixture, { server, url: `http://127.0.0.1:${server.port}` });
}

/** Sends raw bytes and answers all that comes until the server closes. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
    socket.on('error', (error) => (text === '' ? reject(error) : resolve(text)));
  });
}

describe('the admin server', () => {
  test('answers metrics, health and status', async (t) => {
    const { url } = await start(t);
    const metrics = await fetch(`${url}/metrics`);
    assert.equal(metrics.headers.get('content-type'), 'text/plain; version=0.0.4');
    assert.equal(await metrics.text(), 'up 1\n');
    const health = await fetch(`${url}/healthz?verbose`);
    assert.equal(health.status, 200);
    assert.equal(await health.text(), 'ok\n');
    const status = await fetch(`${url}/api/v1/status`);
    assert.equal(status.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.equal(status.headers.get('cache-control'), 'no-store');
    assert.deepEqual(await status.json(), STATUS);
  });

  test('is ready only when the proxy is', async (t) => {
    const fixture = await start(t);
    assert.equal((await fetch(`${fixture.url}/readyz`)).status, 200);
    fixture.ready = { ok: false, reasons: ['cluster main has no primary', 'cluster b has no primary'] };
    const answer = await fetch(`${fixture.url}/readyz`);
    assert.equal(answer.status, 503);
    assert.equal(await answer.text(), 'not ready\ncluster main has no primary\ncluster b has no primary\n');
    assert.equal((await fetch(`${fixture.url}/healthz`)).status, 200);
  });

  test('answers HEAD without a body', async (t) => {
    const { url } = await start(t);
    const answer = await fetch(`${url}/healthz`, { method: 'HEAD' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-length'), '3');
    assert.equal(await answer.text(), '');
  });

  test('says 404 and 405', async (t) => {
    const { url } = await start(t);
    const none = await fetch(`${url}/nothing`);
    assert.equal(none.status, 404);
    assert.deepEqual(await none.json(), { error: 'there is no /nothing' });
    for (const [method, path, allow] of [
      ['POST', '/metrics', 'GET, HEAD'],
      ['DELETE', '/api/v1/status', 'GET, HEAD'],
      ['GET', '/api/v1/reload', 'POST'],
      ['HEAD', '/api/v1/reload', 'POST'],
    ] as const) {
      const answer = await fetch(`${url}${path}`, { method });
      assert.equal(answer.status, 405, `${method} ${path}`);
      assert.equal(answer.headers.get('allow'), allow);
    }
  });

  test('reloads only with the token', async (t) => {
    const fixture = await start(t);
    const post = (authorization?: string) =>
      fetch(`${fixture.url}/api/v1/reload`, {
        method: 'POST',
        headers: authorization === undefined ? {} : { authorization },
      });
    for (const wrong of [undefined, 'Bearer', 'Bearer x', 'Bearer let me in too', 'Basic let me in']) {
      const answer = await post(wrong);
      assert.equal(answer.status, 401, wrong);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="scheelite"');
    }
    assert.equal(fixture.reloads, 0);
    const answer = await post('bearer let me in');
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), fixture.reload);
    assert.equal(fixture.reloads, 1);

    fixture.reload = { ...fixture.reload, outcome: 'refused', lines: ['no'] };
    assert.equal((await post('Bearer let me in')).status, 409);

    // A token that a reload has changed holds at once; without one nobody may.
    fixture.token = 'another';
    assert.equal((await post('Bearer let me in')).status, 401);
    fixture.token = null;
    assert.equal((await post('Bearer ')).status, 403);
  });

  test('tells statements, and refuses what it does not understand', async (t) => {
    const { url, queries } = await start(t);
    assert.deepEqual(await (await fetch(`${url}/api/v1/statements`)).json(), REPORT);
    assert.equal((await fetch(`${url}/api/v1/statements?sort=rows&limit=1000&cluster=a%26b`)).status, 200);
    assert.deepEqual(queries, [
      { sort: 'time', limit: 20, cluster: null },
      { sort: 'rows', limit: 1000, cluster: 'a&b' },
    ]);
    for (const wrong of ['sort=', 'sort=x', 'limit=0', 'limit=1001', 'limit=1.5', 'limit=x', 'order=time']) {
      const answer = await fetch(`${url}/api/v1/statements?${wrong}`);
      assert.equal(answer.status, 400, wrong);
      assert.equal(typeof ((await answer.json()) as { error: unknown }).error, 'string');
    }
    assert.equal(queries.length, 2);
  });

  test('sets statements back only with the token', async (t) => {
    const fixture = await start(t);
    const post = (headers: Record<string, string>) =>
      fetch(`${fixture.url}/api/v1/statements/reset`, { method: 'POST', headers });
    assert.equal((await post({})).status, 401);
    assert.equal(fixture.resets, 0);
    const answer = await post({ authorization: 'Bearer let me in' });
    assert.deepEqual([answer.status, await answer.json()], [200, { reset: true }]);
    assert.equal(fixture.resets, 1);
  });

  test('bounds the body', async (t) => {
    const fixture = await start(t);
    const headers = { authorization: 'Bearer let me in' };
    const post = (bytes: number) =>
      fetch(`${fixture.url}/api/v1/reload`, { method: 'POST', headers, body: 'x'.repeat(bytes) });
    assert.equal((await post(64 * 1024)).status, 200);
    const answer = await raw(
      fixture.server.port,
      `POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer let me in\r\nContent-Length: 10000000\r\n\r\n${'x'.repeat(100_000)}`,
    );
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.equal(fixture.reloads, 1);
  });

  test('bounds the headers, and survives what is not HTTP', async (t) => {
    const { server, url, errors } = await start(t);
    assert.match(
      await raw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 /,
    );
    assert.match(await raw(server.port, '\u0000\u0001garbage\r\n\r\n'), /^HTTP\/1\.1 400 /);
    assert.match(await raw(server.port, 'GET ../../etc/passwd HTTP/1.0\r\n\r\n'), / (400|404) /);
    // Half a request, then gone.
    await new Promise<void>((resolve) => {
      const socket = connect(server.port, '127.0.0.1', () => {
        socket.write(
          'POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer let me in\r\nContent-Length: 10\r\n\r\nabc',
        );
        socket.end(() => socket.destroy());
      });
      socket.on('close', () => resolve());
    });
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    assert.deepEqual(errors, []);
  });

  test('gives a request that never ends a deadline', async (t) => {
    const { server } = await start(t);
    assert.match(await raw(server.port, 'GET /healthz HTTP/1.1\r\nHost:'), /^HTTP\/1\.1 408 /);
  });

  test('answers 500 without details when the source fails, and reports it', async (t) => {
    const fixture = await start(t, {
      status: () => {
        throw new Error('password is hunter2');
      },
    });
    const answer = await fetch(`${fixture.url}/api/v1/status`);
    assert.equal(answer.status, 500);
    assert.deepEqual(await answer.json(), { error: 'internal error; the log says more' });
    assert.equal(fixture.errors.length, 1);
  });

  test('rejects when its port is taken', async (t) => {
    const { server } = await start(t);
    await assert.rejects(
      startAdminServer({
        host: '127.0.0.1',
        port: server.port,
        token: () => null,
        source: {} as AdminSource,
        onError: () => {},
      }),
      { code: 'EADDRINUSE' },
    );
  });
});
