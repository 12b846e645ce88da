// What a right configuration becomes: defaults, names, ports by protocol, secrets, paths.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseJson } from '../../src/config/json.js';
import { loadConfig } from '../../src/config/load.js';
import { loadConfigApart } from '../../src/config/load-apart.js';
import { configFrom } from '../../src/config/resolve.js';
import { configSchema, jsonSchema } from '../../src/config/schema.js';
import { hostPort } from '../../src/lib/address.js';
import { minimal, temporaryFolder } from './folder.js';

// From dist/test/config/load.test.js.
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

test('a listener and one node are enough', async (t) => {
  const loaded = await loadConfig(temporaryFolder(t).write('proxy.json', minimal()), {});
  assert.deepEqual(loaded.problems, []);
  assert.deepEqual(loaded.config, {
    listeners: [
      {
        name: '127.0.0.1:6432',
        host: '127.0.0.1',
        port: 6432,
        cluster: 'main',
        maxClients: 10_000,
        loginTimeoutMs: 10_000,
        hints: true,
        auth: 'auto',
      },
    ],
    clusters: [
      {
        name: 'main',
        protocol: 'postgres',
        nodes: [{ name: '10.0.0.1:5432', host: '10.0.0.1', port: 5432, weight: 1, tags: {}, mode: 'online' }],
        monitor: { user: 'postgres', password: '', database: 'postgres', intervalMs: 200, timeoutMs: 1000 },
        pool: {
          maxServerConnections: 20,
          maxWaiting: 10_000,
          waitTimeoutMs: 10_000,
          idleTimeoutMs: 600_000,
          maxLifetimeMs: 3_600_000,
          connectTimeoutMs: 5_000,
        },
        routing: {
          splitReads: true,
          balance: 'round-robin',
          latencyDecayMs: 10_000,
          slowStartMs: 0,
          readFunctions: [],
          writeFunctions: [],
          foreignTablesAreReads: false,
        },
        sharing: {
          ...{ enabled: true, maxConnections: 4, growAtDepth: 16, spreadMs: 0.25 },
          ...{ maxDepth: 256, maxUsualMs: 5, maxGroup: 16, maxHeadMs: 10 },
        },
        autoPrepare: { enabled: true, simpleQueries: true, threshold: 5, maxStatements: 200 },
        consistency: {
          level: 'session',
          maxLagMs: 10_000,
          boundMs: 1_000,
          gate: true,
          returnMs: 50,
          waitMs: 0,
          scope: 'connection',
          maxKeys: 100_000,
          keyTtlMs: 3_600_000,
        },
        redis: null,
        failover: {
          mode: 'off',
          probes: 3,
          holdMs: 30_000,
          blockMs: 3_600_000,
          auditFile: null,
          stateFile: null,
        },
        rules: [],
        users: null,
      },
    ],
    admin: { enabled: true, host: '127.0.0.1', port: 9464, token: null },
    log: { level: 'info', format: 'json' },
    telemetry: { topStatements: 10 },
    limits: {
      maxUnitBytes: 268_435_456,
      maxStatementBytesClassified: 262_144,
      maxClientBufferBytes: 1_048_576,
      drainMs: 30_000,
    },
    workers: 1,
    busyPollUs: 'auto',
  });
});

test('defaults follow the protocol', () => {
  const config = configFrom({
    listeners: [{ cluster: 'm' }, { cluster: 'p' }],
    clusters: [
      { name: 'm', protocol: 'mysql', nodes: [{ host: '::1' }] },
      { name: 'p', protocol: 'postgres', nodes: [{ host: 'db' }] },
    ],
  });
  assert.deepEqual(
    config.listeners.map((listener) => listener.name),
    ['127.0.0.1:6446', '127.0.0.1:6432'],
  );
  assert.equal(config.clusters[0]!.nodes[0]!.name, '[::1]:3306');
  assert.equal(config.clusters[0]!.monitor.user, 'root');
  assert.equal(config.clusters[0]!.monitor.database, 'mysql');
  assert.equal(config.clusters[1]!.nodes[0]!.name, 'db:5432');
  assert.equal(hostPort('10.0.0.1', 1), '10.0.0.1:1');
});

test('several listeners may take a free port', () => {
  const listeners = [
    { name: 'a', port: 0 },
    { name: 'b', port: 0 },
  ];
  const config = configFrom({
    listeners,
    clusters: [{ protocol: 'postgres', nodes: [{ host: 'h' }] }],
    admin: { port: 0 },
  });
  assert.equal(config.listeners.length, 2);
});

test('secrets come by value, from the environment and from files', async (t) => {
  const folder = temporaryFolder(t);
  folder.write('one.txt', 'first line\nsecond\n');
  folder.write('two.txt', 'windows\r\n');
  const file = folder.write(
    'proxy.json',
    minimal(
      {
        monitor: { password: { env: 'MONITOR_PASSWORD' } },
        users: [
          { name: 'value', password: ' kept as it is ' },
          { name: 'file', password: { file: 'one.txt' } },
          { name: 'absolute', password: { file: join(folder.path, 'two.txt') } },
          { name: 'hash', verifier: `md5${'0'.repeat(32)}` },
        ],
      },
      { admin: { token: { env: 'TOKEN' } } },
    ),
  );
  const loaded = await loadConfig(file, { MONITOR_PASSWORD: 'm', TOKEN: 't' });
  assert.deepEqual(loaded.problems, []);
  assert.equal(loaded.config?.clusters[0]?.monitor.password, 'm');
  assert.equal(loaded.config?.admin.token, 't');
  assert.deepEqual(
    loaded.config?.clusters[0]?.users?.map((user) => user.password ?? user.verifier),
    [' kept as it is ', 'first line\nsecond', 'windows', `md5${'0'.repeat(32)}`],
  );
  assert.deepEqual(
    [...loaded.files.keys()],
    [file, join(folder.path, 'one.txt'), join(folder.path, 'two.txt')],
  );
});

test('files of the failover are relative to the configuration', async (t) => {
  const folder = temporaryFolder(t);
  const file = folder.write(
    'proxy.json',
    minimal({ failover: { auditFile: 'audit.jsonl', stateFile: '/var/s' } }),
  );
  const { config } = await loadConfig(file, {});
  assert.equal(config?.clusters[0]?.failover.auditFile, join(folder.path, 'audit.jsonl'));
  assert.equal(config?.clusters[0]?.failover.stateFile, '/var/s');
});

test('a configuration of a program is checked the same way', () => {
  assert.throws(
    () =>
      configFrom({ listeners: [{}], clusters: [{ protocol: 'postgres', nodes: [{ host: 'h', port: 0 }] }] }),
    { message: 'configuration: clusters[0].nodes[0].port: must be at least 1, not 0' },
  );
});

test('JSON is read as JSON.parse reads it', () => {
  for (const text of [
    '{"a": [1, -2.5e3, true, false, null, "\\u00e9\\n\\"\\\\/"], "b": {}, "c": []}',
    '\r\n\t[ ]',
    '"x"',
    '0',
    '{"__proto__": {"x": 1}, "constructor": 2}',
  ]) {
    assert.deepEqual(parseJson(text).value, JSON.parse(text), text);
  }
  const odd = parseJson('\uFEFF{"__proto__": 1}').value as object;
  assert.deepEqual(Object.keys(odd), ['__proto__']);
});

test('a long list is read in time that grows with its length', () => {
  const users = Array.from({ length: 50_000 }, (_, i) => ({ name: `u${i}`, password: 'x' }));
  const text = JSON.stringify({ users }, null, 1);
  const { places } = parseJson(text);
  assert.deepEqual(places.get('users[49999].password'), { line: 3 + 49_999 * 4 + 2, column: 4 });
});

test('the example is valid, and without a warning', async () => {
  const loaded = await loadConfig(join(ROOT, 'proxy.config.json'), {});
  assert.deepEqual(loaded.problems, []);
  assert.deepEqual(loaded.warnings, []);
});

test('proxy.config.schema.json is that of the schema; npm run schema writes it', () => {
  const committed = readFileSync(join(ROOT, 'proxy.config.schema.json'), 'utf8');
  assert.equal(committed, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
});

interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
}

/** All properties with their paths, and whether each is required. */
function properties(node: SchemaNode, path = ''): { path: string; node: SchemaNode; required: boolean }[] {
  const own = Object.entries(node.properties ?? {}).flatMap(([key, child]) => [
    { path: `${path}${key}`, node: child, required: node.required?.includes(key) ?? false },
    ...properties(child, `${path}${key}.`),
  ]);
  return node.items === undefined ? own : [...own, ...properties(node.items, path)];
}

test('every field is described, with its default and unit', () => {
  const all = properties(jsonSchema() as SchemaNode);
  assert.ok(all.length > 60, String(all.length));
  for (const { path, node, required } of all) {
    const text = node.description ?? '';
    assert.match(text, /\.$/, `${path} has no description`);
    if (/Ms$/.test(path)) assert.match(text, /millisecond/, `${path} does not name its unit`);
    if (/Us$/.test(path)) assert.match(text, /microsecond/, `${path} does not name its unit`);
    const isGroup = node.type === 'object' && node.properties !== undefined;
    if (required || isGroup || path === '$schema') continue;
    assert.match(text, /Default: /, `${path} does not name its default`);
    const simple = ['string', 'number', 'boolean'].includes(typeof node.default);
    if (simple) assert.ok(text.endsWith(`Default: ${node.default}.`), `${path}: ${text} (${node.default})`);
  }
});

test('the JSON Schema forbids what the schema forbids', () => {
  const text = JSON.stringify(jsonSchema());
  const objects = text.split('"type":"object"').length - 1;
  // All but the free tags, of nodes and of rules.
  assert.equal(text.split('"additionalProperties":false').length - 1, objects - 2);
  assert.equal(configSchema.safeParse({ ...minimal(), x: 1 }).success, false);
});

test('a thread of its own loads the same', async (t) => {
  const folder = temporaryFolder(t);
  const files = [join(ROOT, 'proxy.config.json'), join(folder.path, 'missing.json')];
  files.push(folder.write('wrong.json', minimal({}, { workerz: 2 })));
  for (const file of files) assert.deepEqual(await loadConfigApart(file, {}), await loadConfig(file, {}));
});
