// What differs between two configurations, how it is told, and what a running proxy can take over.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { diffConfig } from '../../src/config/diff.js';
import { configFrom } from '../../src/config/resolve.js';
import type { ConfigInput } from '../../src/config/schema.js';

function base(): ConfigInput & { clusters: [ConfigInput['clusters'][number]] } {
  return {
    listeners: [{ name: 'app', port: 6432 }],
    clusters: [
      {
        name: 'main',
        protocol: 'postgres',
        nodes: [
          { name: 'a', host: 'h1' },
          { name: 'b', host: 'h2', tags: { zone: 'x', rack: '1' } },
        ],
        users: [{ name: 'app', password: 'old secret' }],
      },
    ],
    admin: { token: 'old secret' },
  };
}

type Edit = (config: ReturnType<typeof base>) => void;

/** What was edited, and the lines of the diff: `live` or `restart`, then its text. */
const CASES: readonly (readonly [string, Edit, readonly string[]])[] = [
  ['nothing', () => {}, []],
  [
    'a weight and a mode',
    ({ clusters: [cluster] }) => {
      cluster.nodes[0]!.weight = 3;
      cluster.nodes[1]!.mode = 'drain';
    },
    ['live node main/a: weight 1 -> 3', 'live node main/b: mode "online" -> "drain"'],
  ],
  [
    'a node more and one less',
    ({ clusters: [cluster] }) => {
      cluster.nodes = [cluster.nodes[0]!, { name: 'c', host: 'h3' }];
    },
    ['live node main/c: added', 'live node main/b: removed'],
  ],
  [
    'the order of nodes and of tags',
    ({ clusters: [cluster] }) => {
      cluster.nodes = [{ name: 'b', host: 'h2', tags: { rack: '1', zone: 'x' } }, cluster.nodes[0]!];
    },
    [],
  ],
  [
    'rules',
    ({ clusters: [cluster] }) => {
      cluster.rules = [{ name: 'slow', match: { user: 'a' }, action: { timeoutMs: 5 } }];
    },
    ['live rule main/slow: added'],
  ],
  [
    'workers',
    (config) => {
      config.workers = 'auto';
    },
    ['restart workers 1 -> auto'],
  ],
  [
    'busyPollUs',
    (config) => {
      config.busyPollUs = 0;
    },
    ['live busyPollUs auto -> 0'],
  ],
  [
    'tags',
    ({ clusters: [cluster] }) => {
      cluster.nodes[1]!.tags = { zone: 'y' };
    },
    ['live node main/b: tags {"rack":"1","zone":"x"} -> {"zone":"y"}'],
  ],
  [
    'where a node is',
    ({ clusters: [cluster] }) => {
      cluster.nodes[0]!.host = 'h9';
      cluster.nodes[0]!.port = 5433;
    },
    ['live node main/a: host "h1" -> "h9"', 'live node main/a: port 5432 -> 5433'],
  ],
  [
    'passwords, which are not told',
    (config) => {
      config.clusters[0].users![0]!.password = 'new secret';
      config.admin!.token = 'new secret';
    },
    ['live user main/app: password changed', 'live admin.token changed'],
  ],
  [
    'users come and go',
    ({ clusters: [cluster] }) => {
      cluster.users = [{ name: 'other', password: 'new secret' }];
    },
    ['live user main/other: added', 'live user main/app: removed'],
  ],
  [
    'the list of users goes',
    ({ clusters: [cluster] }) => {
      delete cluster.users;
    },
    ['live cluster main: users are read from the primary', 'live user main/app: removed'],
  ],
  [
    'settings of the cluster',
    ({ clusters: [cluster] }) => {
      cluster.pool = { maxServerConnections: 5, idleTimeoutMs: 1000 };
      cluster.routing = { balance: 'weighted', readFunctions: ['f'] };
      cluster.consistency = { level: 'eventual', maxLagMs: 5 };
      cluster.failover = { mode: 'automatic', probes: 5 };
    },
    [
      'live cluster main: pool.maxServerConnections 20 -> 5',
      'live cluster main: pool.idleTimeoutMs 600000 -> 1000',
      'live cluster main: routing.balance "round-robin" -> "weighted"',
      'live cluster main: routing.readFunctions [] -> ["f"]',
      'live cluster main: consistency.level "session" -> "eventual"',
      'live cluster main: consistency.maxLagMs 10000 -> 5',
      'live cluster main: failover.mode "off" -> "automatic"',
      'live cluster main: failover.probes 3 -> 5',
    ],
  ],
  [
    'log, telemetry and limits',
    (config) => {
      config.log = { level: 'debug', format: 'pretty' };
      config.telemetry = { topStatements: 0 };
      config.limits = { drainMs: 1, maxUnitBytes: 1_000_000 };
    },
    [
      'live log.level "info" -> "debug"',
      'restart log.format "json" -> "pretty"',
      'live telemetry.topStatements 10 -> 0',
      'live limits.maxUnitBytes 268435456 -> 1000000',
      'live limits.drainMs 30000 -> 1',
    ],
  ],
  [
    'what clients of a listener may',
    (config) => {
      config.listeners[0]!.maxClients = 5;
    },
    ['live listener app: maxClients 10000 -> 5'],
  ],
  [
    'where it listens',
    (config) => {
      config.listeners[0]!.port = 6433;
      config.admin!.port = 9999;
    },
    ['restart listener app: port 6432 -> 6433', 'restart admin.port 9464 -> 9999'],
  ],
  [
    'a listener more',
    (config) => {
      config.listeners.push({ name: 'second', port: 6433 });
    },
    ['restart listener second: added'],
  ],
  [
    'another cluster in its place',
    (config) => {
      config.clusters[0].name = 'other';
    },
    [
      'restart listener app: cluster "main" -> "other"',
      'restart cluster other: added',
      'restart cluster main: removed',
    ],
  ],
  [
    'another protocol',
    (config) => {
      config.clusters[0].protocol = 'mysql';
    },
    [
      'restart cluster main: protocol "postgres" -> "mysql"',
      'live node main/a: port 5432 -> 3306',
      'live node main/b: port 5432 -> 3306',
      'restart cluster main: monitor.user "postgres" -> "root"',
      'restart cluster main: monitor.database "postgres" -> "mysql"',
    ],
  ],
];

describe('changed:', () => {
  for (const [what, edit, expected] of CASES) {
    test(what, () => {
      const edited = base();
      edit(edited);
      const changes = diffConfig(configFrom(base()), configFrom(edited));
      assert.deepEqual(
        changes.map((change) => `${change.effect} ${change.text}`),
        expected,
      );
      assert.ok(!JSON.stringify(changes).includes('secret'));
    });
  }
});

test('a change is typed', () => {
  const edited = base();
  edited.clusters[0].nodes[0]!.weight = 3;
  assert.deepEqual(diffConfig(configFrom(base()), configFrom(edited)), [
    {
      kind: 'changed',
      scope: 'node',
      name: 'main/a',
      setting: 'weight',
      effect: 'live',
      text: 'node main/a: weight 1 -> 3',
    },
  ]);
});
