// The command line without a proxy: help, versions, wrong options, exit codes, and the commands that ask an admin server.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startAdminServer } from '../../src/admin/server.js';
import type { NodeStatus, ReloadReport, StatusReport } from '../../src/admin/source.js';
import type { StatementSums, StatementsReport } from '../../src/admin/statements.js';
import { minimal, temporaryFolder } from '../config/folder.js';
import { until } from '../servers/poll.js';
import { scheelite, start } from './run.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const COMMANDS = [
  'serve',
  'check',
  'status',
  'top',
  'sessions',
  'explain',
  'reload',
  'health',
  'demo',
  'schema',
];

describe('help and version', () => {
  test('the overview names every command', async () => {
    for (const args of [['--help'], ['-h'], ['help']]) {
      const { code, stdout, stderr } = await scheelite(args);
      assert.equal(code, 0);
      assert.equal(stderr, '');
      for (const command of COMMANDS) assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
    }
  });

  test('without a command it is an error', async () => {
    const { code, stdout, stderr } = await scheelite([]);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^Usage: scheelite <command>/);
  });

  for (const command of COMMANDS) {
    test(`${command} --help`, async () => {
      const { code, stdout, stderr } = await scheelite([command, '--help']);
      assert.equal(stderr, '');
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^Usage: scheelite ${command} \\[options\\](?: <\\w+>)?\n\n\\S`));
      assert.match(stdout, /^ {2}--help, -h +\S/m);
    });
  }

  test('--version is that of package.json', async () => {
    const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
    assert.deepEqual((await scheelite(['--version'])).stdout, `scheelite ${version}\n`);
  });
});

/** Arguments, and the first line on standard error. */
const WRONG: readonly (readonly [string[], string])[] = [
  [['serv'], 'scheelite: unknown command "serv"; did you mean "serve"?'],
  [
    ['x1y2z3'],
    'scheelite: unknown command "x1y2z3"; there is: serve, check, status, top, sessions, explain, reload, health, demo, schema',
  ],
  [
    ['--verbose'],
    'scheelite: unknown option "--verbose"; there is: serve, check, status, top, sessions, explain, reload, health, demo, schema',
  ],
  [['serve'], 'scheelite serve: --config is required'],
  [['check'], 'scheelite check: --config is required'],
  [['serve', '--confg', 'x'], 'scheelite serve: unknown option --confg; did you mean --config?'],
  [['serve', '--config'], 'scheelite serve: --config needs a value'],
  [['serve', '--config='], 'scheelite serve: --config needs a value'],
  [['check', '--json=yes', '--config', 'x'], 'scheelite check: --json takes no value'],
  [['explain'], 'scheelite explain: a statement is needed, in quotes'],
  [['explain', 'SELECT 1', '2'], 'scheelite explain: unexpected argument "2"'],
  [
    ['explain', 'SELECT 1', '--session', 'x'],
    'scheelite explain: --session needs a number as "scheelite sessions" shows it, not x',
  ],
  [['sessions', '--limit', '0'], 'scheelite sessions: --limit needs a number up to 1000, not 0'],
  [['serve', 'proxy.config.json'], 'scheelite serve: unexpected argument "proxy.config.json"'],
  [['schema', '-x'], 'scheelite schema: unknown option -x'],
  [
    ['status', '--admin', 'localhost'],
    'scheelite status: --admin needs a URL like http://127.0.0.1:9464, not localhost',
  ],
];

describe('a wrong command line', () => {
  for (const [args, expected] of WRONG) {
    test(args.join(' '), async () => {
      const { code, stdout, stderr } = await scheelite(args);
      assert.equal(stderr.split('\n')[0], expected);
      assert.equal(code, 2);
      assert.equal(stdout, '');
    });
  }
});

describe('an invalid configuration', () => {
  for (const command of ['serve', 'check', 'status', 'reload']) {
    test(`${command} names every problem and ends with 3`, async (t) => {
      const folder = temporaryFolder(t);
      folder.write('proxy.json', minimal({ tool: {}, nodes: [{ host: 'h', port: 'x' }] }));
      const { code, stderr, stdout } = await scheelite([command, '--config', 'proxy.json'], {
        cwd: folder.path,
      });
      assert.equal(code, 3);
      assert.equal(stdout, '');
      assert.match(
        stderr,
        /^proxy\.json:\d+:\d+: clusters\[0\]\.nodes\[0\]\.port: expected a number, not "x"$/m,
      );
      assert.match(stderr, /^proxy\.json:\d+:\d+: clusters\[0\]\.tool: unknown key; did you mean "pool"\?$/m);
    });
  }

  test('a file that is not there', async () => {
    const { code, stderr } = await scheelite(['serve', '--config', '/nowhere/proxy.json']);
    assert.equal(code, 3);
    assert.equal(stderr, '/nowhere/proxy.json: cannot read /nowhere/proxy.json: there is no such file\n');
  });
});

test('schema prints what is committed', async () => {
  const { code, stdout } = await scheelite(['schema']);
  assert.equal(code, 0);
  assert.equal(stdout, readFileSync(`${ROOT}proxy.config.schema.json`, 'utf8'));
});

describe('check --offline', () => {
  test('of the example', async () => {
    const { code, stdout, stderr } = await scheelite(
      ['check', '--offline', '--config', 'proxy.config.json'],
      {
        cwd: ROOT,
      },
    );
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'proxy.config.json: valid\n', stderr: '' });
  });

  test('tells warnings, and ends with 0', async (t) => {
    const folder = temporaryFolder(t);
    folder.write('proxy.json', minimal({ users: [] }));
    const { code, stderr } = await scheelite(['check', '--offline', '--config', 'proxy.json'], {
      cwd: folder.path,
    });
    assert.equal(code, 0);
    assert.match(
      stderr,
      /^warning: proxy\.json:\d+:\d+: clusters\[0\]\.users: is empty: nobody can log in\n$/,
    );
  });

  test('as JSON', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', minimal({ pool: { maxWaitng: 1 } }));
    const { code, stdout } = await scheelite(['check', '--offline', '--json', '--config', file]);
    assert.equal(code, 3);
    const report = JSON.parse(stdout);
    assert.equal(report.valid, false);
    assert.equal(report.path, file);
    assert.equal(report.problems[0].path, 'clusters[0].pool.maxWaitng');
    assert.equal(report.problems[0].message, 'unknown key; did you mean "maxWaiting"?');
  });
});

const NODE: NodeStatus = {
  name: 'a',
  host: '10.0.0.1',
  port: 5432,
  mode: 'online',
  role: 'primary',
  state: 'up',
  takesReads: false,
  takesWrites: true,
  excludedBecause: null,
  lagMs: 0,
  secondsBehind: null,
  position: '0/3000060',
  upstream: null,
  version: 'PostgreSQL 15.8 on x86_64',
  weight: 1,
  lastError: null,
  probedMsAgo: 12,
  pool: { open: 5, idle: 3, leased: 2, shared: 0, waiting: 0, limit: 20 },
};

const STATUS: StatusReport = {
  version: '0.1.0',
  pid: 42,
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeSeconds: 7_300,
  state: 'running',
  config: { path: '/etc/proxy.json', revision: 3, lastReload: null },
  listeners: [{ name: 'app', host: '0.0.0.0', port: 6432, cluster: 'main', clients: 7, maxClients: 100 }],
  clusters: [
    {
      name: 'main',
      protocol: 'postgres',
      primary: 'a',
      epoch: 1,
      state: 'ok',
      failoverMode: 'automatic',
      clients: 7,
      held: 0,
      pinned: { 'temporary-table': 2 },
      alerts: ['look at b'],
      rules: [{ name: 'reports', matches: 12, denials: 3 }],
      nodes: [
        NODE,
        {
          ...NODE,
          name: 'replica-b',
          role: 'replica',
          takesReads: true,
          takesWrites: false,
          lagMs: 1234,
          pool: { ...NODE.pool, open: 0, idle: 0 },
        },
        {
          ...NODE,
          name: 'c',
          role: 'unknown',
          state: 'down',
          takesWrites: false,
          lagMs: null,
          version: null,
          excludedBecause: 'is down',
          lastError: 'connect ECONNREFUSED',
        },
      ],
    },
  ],
};

const SUMS: StatementSums = {
  calls: 40_000,
  errors: 2,
  rows: 39_998,
  bytes: 5_000_000,
  nodeMs: 8_000,
  maxNodeMs: 31,
  waitMs: 100,
  holdMs: 0,
  queueMs: 700,
  primary: 10_000,
  replica: 30_000,
};
const STATEMENTS: StatementsReport = {
  since: '2026-01-01T00:00:00.000Z',
  sort: 'time',
  statements: [
    {
      ...SUMS,
      cluster: 'main',
      id: '0123456789abcdef',
      shape: 'select * from "a\u001b[31m" where b = ?',
      meanNodeMs: 0.2,
      proxyMs: 800,
      byNode: { b: 30_000, a: 10_000 },
    },
  ],
  clusters: [{ cluster: 'main', tracked: 5_000, evicted: 7, other: { ...SUMS, calls: 9 } }],
};

async function fakeProxy(
  t: TestContext,
  token: string | null,
): Promise<{ url: string; reload: ReloadReport }> {
  const fake = {
    reload: {
      at: 'x',
      trigger: 'api',
      outcome: 'applied',
      lines: ['node main/a: weight 1 -> 2'],
      warnings: ['w'],
    } as ReloadReport,
  };
  const server = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    token: () => token,
    onError: (error) => assert.fail(String(error)),
    source: {
      status: () => STATUS,
      ready: () => ({ ok: false, reasons: ['cluster main: no primary'] }),
      metrics: async () => ({ contentType: 'text/plain', text: '' }),
      statements: (query) => ({ ...STATEMENTS, sort: query.sort }),
      resetStatements: () => {},
      explain: async () => ({ problem: 'nobody knows' }),
      sessions: async () => ({ total: 0, sessions: [] }),
      reload: async () => fake.reload,
    },
  });
  t.after(() => server.close());
  return Object.assign(fake, { url: `http://127.0.0.1:${server.port}` });
}

describe('status', () => {
  test('is a table', async (t) => {
    const { url } = await fakeProxy(t, null);
    const { code, stdout, stderr } = await scheelite(['status', '--admin', `${url}/`]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.equal(
      stdout,
      `scheelite 0.1.0, running for 2 h, process 42
configuration /etc/proxy.json, revision 3

LISTENER  ADDRESS       CLUSTER  CLIENTS
app       0.0.0.0:6432  main     7/100

cluster main (postgres): ok, primary a, epoch 1, failover automatic, 7 clients, 2 pinned by temporary-table
  alert: look at b
  NODE       ADDRESS        ROLE     STATE  MODE    TAKES   LAG    VERSION  OPEN  IDLE  WAITING  NOTE
  a          10.0.0.1:5432  primary  up     online  writes  -      15.8     5/20  3     0
  replica-b  10.0.0.1:5432  replica  up     online  reads   1.2 s  15.8     0/20  0     0
  c          10.0.0.1:5432  unknown  down   online  -       ?      ?        5/20  3     0        is down; connect ECONNREFUSED
  RULE     MATCHES  DENIED
  reports  12       3
`,
    );
  });

  test('is JSON with --json', async (t) => {
    const { url } = await fakeProxy(t, null);
    const { stdout } = await scheelite(['status', '--json', '--admin', url]);
    assert.deepEqual(JSON.parse(stdout), STATUS);
  });

  test('finds the admin server by the configuration', async (t) => {
    const { url } = await fakeProxy(t, null);
    const admin = { host: '0.0.0.0', port: Number(new URL(url).port) };
    const file = temporaryFolder(t).write('proxy.json', minimal({}, { admin }));
    assert.equal((await scheelite(['status', '--config', file])).code, 0);
  });

  test('says when nobody answers', async (t) => {
    const { code, stderr } = await scheelite(['status', '--admin', 'http://127.0.0.1:1']);
    assert.equal(code, 1);
    assert.match(stderr, /^no answer from http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/);
    const file = temporaryFolder(t).write('proxy.json', minimal({}, { admin: { enabled: false } }));
    const off = await scheelite(['status', '--config', file]);
    assert.equal(off.code, 3);
    assert.match(off.stderr, /admin\.enabled is false/);
  });
});

describe('top', () => {
  test('is a table', async (t) => {
    const { url } = await fakeProxy(t, null);
    const { code, stdout, stderr } = await scheelite(['top', '--once', '--sort', 'calls', '--admin', url]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    // What a name has in it must not reach the terminal as a command.
    assert.equal(
      stdout,
      `since 2026-01-01T00:00:00.000Z, by calls; main: 5000 shapes, 7 lighter ones left out with 9 calls

CALLS  CALLS/S  TIME    MEAN    MAX   PROXY   ROWS  BYTES  ERRORS  NODES        STATEMENT
40k    -        8000ms  0.20ms  31ms  0.02ms  40k   5.00M  2       b 75% a 25%  select * from "a [31m" where b = ?
`,
    );
  });

  test('is JSON with --json', async (t) => {
    const { url } = await fakeProxy(t, null);
    const { stdout } = await scheelite(['top', '--json', '--once', '--admin', url]);
    assert.deepEqual(JSON.parse(stdout), STATEMENTS);
  });

  test('goes on until it is interrupted, where there is no terminal too', async (t) => {
    const { url } = await fakeProxy(t, null);
    const { printed, process: child, ended } = start(['top', '--interval', '0.1', '--admin', url], {});
    t.after(() => child.kill('SIGKILL'));
    await until('three tables', () => printed.stdout.split('CALLS/S').length > 3);
    child.kill('SIGINT');
    const { code, stdout } = await ended;
    assert.equal(code, 0);
    assert.ok(!stdout.includes('\u001b'));
    // From the second on there is a rate.
    assert.match(stdout, /^40k +0 /m);
  });

  test('says what is wrong with its options', async () => {
    for (const [args, message] of [
      [['--sort', 'color'], '--sort color: one of time, calls,'],
      [['--limit', '0'], '--limit 0: a whole number'],
      [['--interval', 'x'], '--interval x: seconds'],
    ] as const) {
      const { code, stderr } = await scheelite(['top', ...args]);
      assert.equal(code, 2);
      assert.ok(stderr.includes(message), stderr);
    }
  });
});

describe('reload', () => {
  test('says what changed', async (t) => {
    const { url } = await fakeProxy(t, 'secret');
    const options = { env: { SCHEELITE_ADMIN_TOKEN: 'secret' } };
    const { code, stdout, stderr } = await scheelite(['reload', '--admin', url], options);
    assert.deepEqual(
      { code, stdout, stderr },
      { code: 0, stdout: 'configuration applied\n  node main/a: weight 1 -> 2\n', stderr: 'warning: w\n' },
    );
  });

  test('ends with 1 when it was refused', async (t) => {
    const fake = await fakeProxy(t, 'secret');
    fake.reload = { ...fake.reload, outcome: 'refused', lines: ['no'], warnings: [] };
    const file = temporaryFolder(t).write(
      'proxy.json',
      minimal({}, { admin: { port: Number(new URL(fake.url).port), token: 'secret' } }),
    );
    const { code, stdout } = await scheelite(['reload', '--config', file]);
    assert.equal(code, 1);
    assert.equal(stdout, 'configuration refused\n  no\n');
  });

  test('needs the right token', async (t) => {
    const { url } = await fakeProxy(t, 'secret');
    for (const env of [{ SCHEELITE_ADMIN_TOKEN: 'wrong' }, undefined]) {
      const { code, stderr } = await scheelite(['reload', '--admin', url], env === undefined ? {} : { env });
      assert.equal(code, 1);
      assert.equal(stderr, 'the token is missing or wrong\n');
    }
  });
});

test('health answers by its exit code', async (t) => {
  const { url } = await fakeProxy(t, null);
  const alive = await scheelite(['health', '--admin', url]);
  assert.deepEqual({ code: alive.code, stdout: alive.stdout }, { code: 0, stdout: 'ok\n' });
  const ready = await scheelite(['health', '--ready', '--admin', url]);
  assert.equal(ready.code, 1);
  assert.equal(ready.stderr, 'not ready\ncluster main: no primary\n');
  assert.equal((await scheelite(['health', '--admin', 'http://127.0.0.1:1'])).code, 1);
});
