// Wrong configurations and exactly what is said about each; and what is only warned of.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/load.js';
import { problemLines } from '../../src/config/loaded.js';
import { problemText } from '../../src/config/problems.js';
import { minimal, temporaryFolder } from './folder.js';

const SCRAM =
  'SCRAM-SHA-256$4096:cSyzh8GyN+JWIW8ShHTkcg==$Sl3DPxa0bdeI/lTnX0TsyaFSb3Tx47UyeQbdgmyNEJc=:bO+hSTdAJu/Ru83JZ8pn5mGGbXFBkBxs3DJ7wCkeKkQ=';

const users = (...list: Record<string, unknown>[]) => minimal({ users: list });
const twoClusters = {
  listeners: [{ port: 6432, cluster: 'a' }],
  clusters: [
    { name: 'a', protocol: 'postgres', nodes: [{ host: 'h1' }] },
    { name: 'b', protocol: 'mysql', nodes: [{ host: 'h2' }] },
  ],
};

const rules = (...list: Record<string, unknown>[]) =>
  minimal({ nodes: [{ name: 'a', host: 'h', tags: { zone: 'x' } }], rules: list });
const timeout = { timeoutMs: 1 };

/** What, and the whole list of problems as `path: message`. */
const BAD: readonly (readonly [string, unknown, readonly string[]])[] = [
  [
    'an empty object',
    {},
    ['listeners: missing; expected a list [...]', 'clusters: missing; expected a list [...]'],
  ],
  ['a list', [], ['expected an object {...}, not a list']],
  ['a word', '"x"', ['expected an object {...}, not "x"']],
  ['no listener', minimal({}, { listeners: [] }), ['listeners: needs at least one entry']],
  ['no node', minimal({ nodes: [] }), ['clusters[0].nodes: needs at least one entry']],
  [
    'no host',
    minimal({ nodes: [{ port: 5432 }] }),
    ['clusters[0].nodes[0].host: missing; expected a string'],
  ],
  [
    'a rule without an action',
    rules({ action: {} }),
    ['clusters[0].rules[0].action: says nothing; give it at least one of the actions'],
  ],
  [
    'a rule whose word about preparing is none',
    rules({ action: { autoPrepare: { threshold: 0 } } }, { action: { autoPrepare: 5 } }),
    [
      'clusters[0].rules[0].action.autoPrepare.threshold: must be at least 1, not 0',
      'clusters[0].rules[1].action.autoPrepare: expected true, false or an object with enabled, threshold or maxStatements',
    ],
  ],
  [
    'a rule that says nothing of preparing',
    rules({ action: { autoPrepare: {} } }),
    ['clusters[0].rules[0].action: says nothing; give it at least one of the actions'],
  ],
  [
    'a rule that sends to nobody',
    rules({ action: { route: { node: 'b' } } }, { action: { route: { tag: { zone: 'y' } } } }),
    [
      'clusters[0].rules[0].action.route.node: no node is named "b"; there is: a',
      'clusters[0].rules[1].action.route.tag: no node has "zone": "y"; there is: x',
    ],
  ],
  [
    'a rule with a tag that nobody has, and with two',
    rules(
      { action: { route: { tag: { rack: '1' } } } },
      { action: { route: { tag: { zone: 'x', rack: '1' } } } },
    ),
    [
      'clusters[0].rules[0].action.route.tag: no node has "rack": "1"; no node has the tag "rack"',
      'clusters[0].rules[1].action.route.tag: needs exactly one tag, not 2',
    ],
  ],
  [
    'a route of another form',
    rules({ action: { route: 'secondary' } }),
    [
      'clusters[0].rules[0].action.route: expected "primary", "replica", {"node": "name"} or {"tag": {"name": "value"}}',
    ],
  ],
  [
    'a pattern that is none',
    rules({ match: { shapePattern: '(' }, action: timeout }),
    ['clusters[0].rules[0].match.shapePattern: not a regular expression: /(/i: Unterminated group'],
  ],
  [
    'a network that is none',
    rules({ match: { clientAddress: ['10.0.0.0/8', '10.0.0.0/40'] }, action: timeout }),
    [
      'clusters[0].rules[0].match.clientAddress: "10.0.0.0/40" is neither an address nor a network such as 10.0.0.0/8',
    ],
  ],
  [
    'a shape of several statements, and of none',
    rules(
      { match: { shape: 'select 1; select 2' }, action: timeout },
      { match: { shape: "select '" }, action: timeout },
    ),
    [
      'clusters[0].rules[0].match.shape: several statements: "select 1; select 2"; a rule is about one',
      'clusters[0].rules[1].match.shape: not a statement: "select \'"',
    ],
  ],
  [
    'contradictions',
    rules(
      { action: { deny: 'no', route: 'primary' } },
      { action: { route: 'primary', maxLagMs: 5 } },
      { action: { route: 'replica', consistency: 'primary' } },
      { match: { class: 'write' }, action: { route: 'replica' } },
      { action: { fallback: 'hold' } },
    ),
    [
      'clusters[0].rules[0].action.route: has no effect on statements that are denied',
      'clusters[0].rules[1].action.maxLagMs: is about replicas, but the route is "primary"',
      'clusters[0].rules[2].action.consistency: is "primary", but the route leads elsewhere',
      'clusters[0].rules[3].action.route: class write goes to the primary whatever a rule says',
      'clusters[0].rules[4].action.fallback: is about a route, and there is none',
    ],
  ],
  [
    'two rules of one name',
    rules({ name: 'x', action: timeout }, { name: 'x', action: timeout }),
    ['clusters[0].rules[1].name: rule "x" is already clusters[0].rules[0]'],
  ],
  [
    'an unknown class and an unknown key',
    rules({ match: { class: 'reads' }, action: timeout }),
    [
      'clusters[0].rules[0].match.class: expected one of "read", "write", "ddl", "transaction", "session", or a list of them',
    ],
  ],
  [
    'a typo in an action',
    rules({ action: { timeoutMS: 5, log: true } }),
    ['clusters[0].rules[0].action.timeoutMS: unknown key; did you mean "timeoutMs"?'],
  ],
  ['an empty host', minimal({ nodes: [{ host: '' }] }), ['clusters[0].nodes[0].host: must not be empty']],
  [
    'no protocol',
    { listeners: [{}], clusters: [{ nodes: [{ host: 'h' }] }] },
    ['clusters[0].protocol: missing; expected one of "postgres", "mysql"'],
  ],
  [
    'another protocol',
    minimal({ protocol: 'mariadb' }),
    ['clusters[0].protocol: expected one of "postgres", "mysql", not "mariadb"'],
  ],
  [
    'a scope that there is not',
    minimal({ consistency: { scope: 'role' } }),
    [
      'clusters[0].consistency.scope: expected "connection", "user", "database", "comment", {"startupParameter": "name"} or {"connectionAttribute": "name"}',
    ],
  ],
  [
    'a connection attribute for PostgreSQL',
    minimal({ consistency: { scope: { connectionAttribute: 'program_name' } } }),
    [
      'clusters[0].consistency.scope: connectionAttribute is for MySQL; a postgres cluster takes startupParameter',
    ],
  ],
  [
    'Sentinels without the name of their master',
    minimal({ redis: { mode: 'sentinel', nodes: [{ port: 26379 }] } }),
    ['clusters[0].redis.sentinel: missing; the mode "sentinel" needs the name of the master'],
  ],
  [
    'the name of a master for a single Redis',
    minimal({ redis: { nodes: [{}], sentinel: { name: 'main' } } }),
    ['clusters[0].redis.sentinel: is for the mode "sentinel", and the mode is "single"'],
  ],
  [
    'two single ones',
    minimal({ redis: { nodes: [{}, { port: 6380 }], database: 3 } }),
    ['clusters[0].redis.nodes: the mode "single" takes one; for more there are "sentinel" and "cluster"'],
  ],
  // Unknown keys name the nearest right one, or all there are.
  ['a key with a typo', minimal({}, { listners: [] }), ['listners: unknown key; did you mean "listeners"?']],
  [
    'a key in snake case',
    minimal({ pool: { max_server_connections: 5 } }),
    ['clusters[0].pool.max_server_connections: unknown key; did you mean "maxServerConnections"?'],
  ],
  [
    'a key with swapped letters',
    minimal({ nodes: [{ host: 'h', prot: 5432 }] }),
    ['clusters[0].nodes[0].prot: unknown key; did you mean "port"?'],
  ],
  [
    'a key like no other',
    minimal({}, { log: { destination: 'x' } }),
    ['log.destination: unknown key; known keys: level, format'],
  ],
  [
    'a wrong key of a secret',
    users({ name: 'app', password: { environment: 'X' } }),
    ['clusters[0].users[0].password: expected a string, {"env": "NAME"} or {"file": "path"}'],
  ],
  [
    'a number as a secret is not repeated',
    users({ name: 'app', password: 12345 }),
    ['clusters[0].users[0].password: expected a string, {"env": "NAME"} or {"file": "path"}'],
  ],
  // Values.
  [
    'a text for a number',
    minimal({}, { listeners: [{ port: '6432' }] }),
    ['listeners[0].port: expected a number, not "6432"'],
  ],
  [
    'a port too high',
    minimal({}, { listeners: [{ port: 65536 }] }),
    ['listeners[0].port: must be at most 65535, not 65536'],
  ],
  [
    'a node port of 0',
    minimal({ nodes: [{ host: 'h', port: 0 }] }),
    ['clusters[0].nodes[0].port: must be at least 1, not 0'],
  ],
  [
    'a fraction',
    minimal({ pool: { maxWaiting: 1.5 } }),
    ['clusters[0].pool.maxWaiting: expected a whole number, not 1.5'],
  ],
  [
    'too frequent probes',
    minimal({ monitor: { intervalMs: 10 } }),
    ['clusters[0].monitor.intervalMs: must be at least 100, not 10'],
  ],
  [
    'a time that no timer takes',
    minimal({ pool: { idleTimeoutMs: 3_000_000_000 } }),
    ['clusters[0].pool.idleTimeoutMs: must be at most 2147483647, not 3000000000'],
  ],
  [
    'a word for a truth value',
    minimal({ routing: { splitReads: 'yes' } }),
    ['clusters[0].routing.splitReads: expected true or false, not "yes"'],
  ],
  ['a null', minimal({ pool: null }), ['clusters[0].pool: expected an object {...}, not null']],
  [
    'a level that does not exist',
    minimal({ consistency: { level: 'linearizable' } }),
    [
      'clusters[0].consistency.level: expected one of "session", "eventual", "bounded", "strong", "primary", not "linearizable"',
    ],
  ],
  // Between fields.
  [
    'two clusters of one name',
    {
      listeners: [{ cluster: 'main' }],
      clusters: [
        { protocol: 'postgres', nodes: [{ host: 'h1' }] },
        { protocol: 'postgres', nodes: [{ host: 'h2' }] },
      ],
    },
    ['clusters[1].name: cluster "main" is already clusters[0]'],
  ],
  [
    'two nodes of one name',
    minimal({
      nodes: [
        { name: 'a', host: 'h1' },
        { name: 'a', host: 'h2' },
      ],
    }),
    ['clusters[0].nodes[1].name: node "a" is already clusters[0].nodes[0]'],
  ],
  [
    'one server twice',
    minimal({
      nodes: [
        { name: 'a', host: 'h1' },
        { name: 'b', host: 'h1', port: 5432 },
      ],
    }),
    ['clusters[0].nodes[1]: h1 port 5432 is already clusters[0].nodes[0]'],
  ],
  [
    'two users of one name',
    users({ name: 'app', password: 'x' }, { name: 'app', password: 'y' }),
    ['clusters[0].users[1].name: user "app" is already clusters[0].users[0]'],
  ],
  [
    'a listener of an unknown cluster',
    { ...twoClusters, listeners: [{ cluster: 'c' }, { cluster: 'a', port: 1 }, { cluster: 'b', port: 2 }] },
    ['listeners[0].cluster: no cluster is named "c"; there is: a, b'],
  ],
  [
    'a listener that does not say which of two clusters',
    { ...twoClusters, listeners: [{ port: 6432 }] },
    ['listeners[0].cluster: missing; there is more than one cluster: a, b'],
  ],
  [
    'two listeners on one port',
    minimal(
      {},
      {
        listeners: [
          { name: 'a', port: 6432 },
          { name: 'b', port: 6432 },
        ],
      },
    ),
    ['listeners[1].port: port 6432 is already that of listeners[0]'],
  ],
  [
    'a listener on the port of one on all addresses',
    minimal({}, { listeners: [{ host: '0.0.0.0', port: 6432 }, { port: 6432 }] }),
    ['listeners[1].port: port 6432 is already that of listeners[0]'],
  ],
  [
    'an admin server on the port of a listener',
    minimal({}, { admin: { port: 6432 } }),
    ['admin.port: port 6432 is already that of listeners[0]'],
  ],
  ['an empty token', minimal({}, { admin: { token: '' } }), ['admin.token: must not be empty']],
  [
    'an authentication that MySQL has not',
    minimal({ protocol: 'mysql' }, { listeners: [{ auth: 'scram-sha-256' }] }),
    ['listeners[0].auth: "scram-sha-256" is for PostgreSQL; a mysql cluster takes "auto" or "trust"'],
  ],
  [
    'a user without anything',
    users({ name: 'app' }),
    ['clusters[0].users[0]: needs a password or a verifier'],
  ],
  [
    'a user with both',
    users({ name: 'app', password: 'x', verifier: SCRAM }),
    ['clusters[0].users[0].verifier: a user has a password or a verifier, not both'],
  ],
  [
    'a verifier that is none',
    users({ name: 'app', verifier: 'SCRAM-SHA-256$x' }),
    [
      'clusters[0].users[0].verifier: expected SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key> or md5 and 32 hexadecimal digits',
    ],
  ],
  [
    'a verifier of PostgreSQL for MySQL',
    minimal({ protocol: 'mysql', users: [{ name: 'app', verifier: SCRAM }] }),
    ['clusters[0].users[0].verifier: expected "*" and 40 hexadecimal digits (mysql_native_password)'],
  ],
  [
    'a function that both reads and writes',
    minimal({ routing: { readFunctions: ['f', 'g'], writeFunctions: ['g'] } }),
    ['clusters[0].routing: function "g" is in both readFunctions and writeFunctions'],
  ],
  [
    'one file for two things',
    minimal({ failover: { auditFile: 'x', stateFile: './x' } }),
    ['clusters[0].failover.stateFile: must not be the auditFile'],
  ],
  // Secrets from outside.
  [
    'an environment variable that is not set',
    minimal({ monitor: { password: { env: 'NOT_SET' } } }),
    ['clusters[0].monitor.password.env: environment variable NOT_SET is not set'],
  ],
  [
    'a secret in no file',
    users({ name: 'app', password: { file: 'secret.txt' } }),
    ['clusters[0].users[0].password.file: cannot read secret.txt: there is no such file'],
  ],
  [
    'a secret in a folder',
    users({ name: 'app', verifier: { file: '.' } }),
    ['clusters[0].users[0].verifier.file: cannot read .: it is a directory'],
  ],
  // All at once, in the order of the file.
  [
    'several mistakes',
    {
      listeners: [{ prt: 1, hints: 1 }],
      clusters: [
        { protocol: 'postgres', nodes: [{ host: 'h', wieght: 1, weight: -1 }], failover: { mode: 'auto' } },
      ],
      admn: {},
    },
    [
      'listeners[0].prt: unknown key; did you mean "port"?',
      'listeners[0].hints: expected true or false, not 1',
      'clusters[0].nodes[0].wieght: unknown key; did you mean "weight"?',
      'clusters[0].nodes[0].weight: must be at least 0, not -1',
      'clusters[0].failover.mode: expected one of "off", "automatic", not "auto"',
      'admn: unknown key; did you mean "admin"?',
    ],
  ],
  [
    'unknown keys hide nothing else',
    minimal({ monitor: { password: { env: 'NOT_SET' } }, tool: 1 }, { listeners: [{ cluster: 'x' }] }),
    [
      'listeners[0].cluster: no cluster is named "x"; there is: main',
      'clusters[0].monitor.password.env: environment variable NOT_SET is not set',
      'clusters[0].tool: unknown key; did you mean "pool"?',
    ],
  ],
];

describe('a wrong configuration', () => {
  for (const [what, content, expected] of BAD) {
    test(what, async (t) => {
      const folder = temporaryFolder(t);
      const loaded = await loadConfig(folder.write('proxy.json', content), {});
      assert.deepEqual(
        loaded.problems.map((problem) => problemText(problem)),
        expected,
      );
      assert.equal(loaded.config, null);
    });
  }

  test('has a line and a column for each problem', async (t) => {
    const text = `{
  "listeners": [{ "port": 6432, "hint": true }],
  "clusters": [
    { "protocol": "postgres",
      "nodes": [
        { "host": "a" },
        { "host": 7 }
      ] }
  ]
}`;
    const loaded = await loadConfig(temporaryFolder(t).write('proxy.json', text), {});
    assert.deepEqual(problemLines(loaded, 'proxy.json'), [
      'proxy.json:2:33: listeners[0].hint: unknown key; did you mean "hints"?',
      'proxy.json:7:11: clusters[0].nodes[1].host: expected a string, not 7',
    ]);
  });
});

/** Text, and what is said of it. */
const NOT_JSON: readonly (readonly [string, string, string])[] = [
  ['nothing', '', 'proxy.json:1:1: not valid JSON: the file is empty'],
  ['white space', ' \n\n', 'proxy.json:3:1: not valid JSON: the file is empty'],
  [
    'a missing comma',
    '{\n  "listeners": []\n  "clusters": []\n}',
    'proxy.json:3:3: not valid JSON: expected "," or "}", not "\\""',
  ],
  [
    'a comma too many',
    '{\n  "listeners": [1, 2,\n  ]\n}',
    'proxy.json:2:21: not valid JSON: no comma is allowed before "]"',
  ],
  ['a comment', '{\n  // here\n}', 'proxy.json:2:3: not valid JSON: comments are not allowed in JSON'],
  [
    'a key without quotes',
    '{ listeners: [] }',
    'proxy.json:1:3: not valid JSON: expected a key in double quotes, not "l"',
  ],
  [
    'a value without quotes',
    '{ "a": localhost }',
    'proxy.json:1:8: not valid JSON: strings need quotes: localhost',
  ],
  [
    'a number with a leading zero',
    '{ "a": 01 }',
    'proxy.json:1:9: not valid JSON: expected "," or "}", not "1"',
  ],
  [
    'an end too early',
    '{ "a": [',
    'proxy.json:1:9: not valid JSON: expected a value, not the end of the file',
  ],
  ['a string that does not end', '{ "a": "b', 'proxy.json:1:8: not valid JSON: a string does not end'],
  [
    'a line break in a string',
    '{ "a": "b\n" }',
    'proxy.json:1:10: not valid JSON: a string may not contain a line break or control character',
  ],
  ['an unknown escape', '{ "a": "\\x" }', 'proxy.json:1:9: not valid JSON: unknown escape \\x'],
  [
    'half a unicode escape',
    '{ "a": "\\u12" }',
    'proxy.json:1:9: not valid JSON: \\u needs four hexadecimal digits',
  ],
  ['more after the end', '{}\n{}', 'proxy.json:2:1: not valid JSON: unexpected "{" after the end'],
  ['a key twice', '{\n "a": 1,\n "a": 2 }', 'proxy.json:3:2: not valid JSON: key "a" is there twice'],
  ['too many levels', '['.repeat(70), 'proxy.json:1:66: not valid JSON: more than 64 levels deep'],
];

describe('what is not JSON', () => {
  for (const [what, text, expected] of NOT_JSON) {
    test(what, async (t) => {
      const loaded = await loadConfig(temporaryFolder(t).write('proxy.json', text), {});
      assert.deepEqual(problemLines(loaded, 'proxy.json'), [expected]);
    });
  }

  test('a file that is not there', async (t) => {
    const loaded = await loadConfig(`${temporaryFolder(t).path}/none.json`, {});
    assert.match(
      problemLines(loaded, 'none.json').join(),
      /^none\.json: cannot read .*none\.json: there is no such file$/,
    );
  });
});

const WARNINGS: readonly (readonly [string, unknown, readonly string[]])[] = [
  ['nothing', minimal(), []],
  [
    'automatic failover with one node',
    minimal({ failover: { mode: 'automatic', stateFile: 's' } }),
    [
      'clusters[0].failover.mode: automatic failover needs a second node that is set to neither offline nor drain',
    ],
  ],
  [
    'automatic failover without a memory',
    minimal({ nodes: [{ host: 'a' }, { host: 'b' }], failover: { mode: 'automatic' } }),
    [
      'clusters[0].failover.stateFile: none: after a restart the proxy does not know which node was primary before',
    ],
  ],
  [
    'trust for everybody',
    minimal({}, { listeners: [{ host: '0.0.0.0', auth: 'trust' }] }),
    ['listeners[0].auth: everybody who reaches 0.0.0.0 gets in without a password'],
  ],
  [
    'an admin server for everybody',
    minimal({}, { admin: { host: '::' } }),
    ['admin.host: status and metrics are readable by everybody who reaches ::'],
  ],
  ['a cluster that nobody reaches', twoClusters, ['clusters[1]: no listener leads to cluster "b"']],
  [
    'nodes that are all offline',
    minimal({ nodes: [{ host: 'a', mode: 'offline' }] }),
    ['clusters[0].nodes: every node is offline: nothing can be served'],
  ],
  [
    'weights of 0',
    minimal({ nodes: [{ host: 'a', weight: 0 }], routing: { balance: 'weighted' } }),
    ['clusters[0].nodes: every weight is 0: reads are spread evenly'],
  ],
  ['an empty list of users', minimal({ users: [] }), ['clusters[0].users: is empty: nobody can log in']],
  [
    'a user with more than the pool has',
    minimal({ users: [{ name: 'a', password: 'x', maxServerConnections: 30 }] }),
    ['clusters[0].users[0].maxServerConnections: is more than the 20 of the pool, which holds'],
  ],
  [
    'idle for longer than alive',
    minimal({ pool: { idleTimeoutMs: 5000, maxLifetimeMs: 2000 } }),
    ['clusters[0].pool.idleTimeoutMs: is longer than maxLifetimeMs, which closes connections first'],
  ],
];

describe('a warning for', () => {
  for (const [what, content, expected] of WARNINGS) {
    test(what, async (t) => {
      const loaded = await loadConfig(temporaryFolder(t).write('proxy.json', content), {});
      assert.deepEqual(loaded.problems, []);
      assert.deepEqual(
        loaded.warnings.map((warning) => problemText(warning)),
        expected,
      );
      assert.notEqual(loaded.config, null);
    });
  }
});
