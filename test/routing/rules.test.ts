// Tables of cases for routing rules: which of them a unit matches, in which order they are heard, and what they say together.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configFrom } from '../../src/config/resolve.js';
import type { ConfigInput } from '../../src/config/schema.js';
import { globMatches } from '../../src/lib/glob.js';
import { isInNetwork, parseNetwork } from '../../src/lib/network.js';
import type { RuledStatement } from '../../src/protocol/unit.js';
import { type ConnectionFacts, NO_MATCH, RuleSet } from '../../src/routing/rules.js';
import { membersOf } from '../../src/routing/shape-members.js';
import { createMysqlClassifier } from '../../src/sql/mysql/classifier.js';
import { createPostgresClassifier } from '../../src/sql/postgres/classifier.js';

type Rules = NonNullable<ConfigInput['clusters'][number]['rules']>;

const facts: ConnectionFacts = {
  user: 'app',
  database: 'shop',
  application: 'worker-7',
  clientAddress: '::ffff:10.1.2.3',
};
const postgres = createPostgresClassifier({ catalog: () => null });
const mysql = createMysqlClassifier({ catalog: () => null });

function statement(sql: string, protocol: 'postgres' | 'mysql' = 'postgres'): RuledStatement {
  if (protocol === 'postgres')
    return postgres.classify(Buffer.from(sql), { standardConformingStrings: true });
  return mysql.classify(Buffer.from(sql), {
    flavour: 'mysql',
    versionNumber: 90_700,
    ansiQuotes: false,
    noBackslashEscapes: false,
    oracleMode: false,
    characterSet: 'utf8mb4',
  });
}

function ruleSet(rules: Rules, protocol: 'postgres' | 'mysql' = 'postgres'): RuleSet {
  const config = configFrom({
    listeners: [{}],
    clusters: [
      {
        name: 'main',
        protocol,
        nodes: [
          { name: 'a', host: 'h1', tags: { zone: 'x' } },
          { name: 'b', host: 'h2', tags: { zone: 'y' } },
        ],
        rules,
      },
    ],
  });
  return new RuleSet(config.clusters[0]!.rules, (_, pattern, shape) => pattern.test(shape));
}

const action = { timeoutMs: 1 };
type Match = NonNullable<Rules[number]['match']>;

const MATCHES: [match: Match, sql: string, matches: boolean, protocol?: 'mysql'][] = [
  [{}, 'select 1', true],
  [{ user: 'app' }, 'select 1', true],
  [{ user: 'App' }, 'select 1', false],
  [{ user: ['other', 'ap*'] }, 'select 1', true],
  [{ user: 'app', database: 'shop' }, 'select 1', true],
  [{ user: 'app', database: 'other' }, 'select 1', false],
  [{ application: 'worker-*' }, 'select 1', true],
  [{ application: 'worker' }, 'select 1', false],
  [{ clientAddress: '10.0.0.0/8' }, 'select 1', true],
  [{ clientAddress: ['192.168.0.0/16', '10.1.2.3'] }, 'select 1', true],
  [{ clientAddress: '10.1.2.4' }, 'select 1', false],
  // A pasted statement: literals, case, spaces and comments do not matter.
  [{ shape: "SELECT *  FROM t WHERE a = 'x' -- why\n" }, 'select * from t where a=7', true],
  [{ shape: 'SELECT * FROM t WHERE a IN (1, 2, 3);' }, "select * from t where a in ('x')", true],
  [{ shape: 'select * from t where a = 1' }, 'select * from u where a = 1', false],
  [{ shape: 'select * from t where a = $1' }, 'select * from t where a = 5', true],
  [{ shape: ['select 1', 'delete from t'] }, 'DELETE FROM t', true],
  [{ shape: "select * from `t` where a = 'it\\'s'" }, 'SELECT * FROM `t` WHERE a = 4', true, 'mysql'],
  [{ shape: 'select "a" from t' }, "select 'b' from t", true, 'mysql'],
  [{ shapePattern: '^delete from t\\b' }, 'DELETE FROM t WHERE a = 1', true],
  [{ shapePattern: '^DELETE FROM T\\b' }, 'delete from t', true],
  [{ shapePattern: '^delete from t$' }, 'delete from t where a = 1', false],
  // Literals are not there to be seen.
  [{ shapePattern: 'secret' }, "select 'secret'", false],
  [{ class: 'read' }, 'select * from t', true],
  [{ class: 'write' }, 'select * from t', false],
  [{ class: 'write' }, 'insert into t values (1)', true],
  [{ class: 'write' }, 'select * from t for update', true],
  [{ class: 'write' }, 'with x as (delete from t returning 1) select * from x', true],
  [{ class: 'write' }, 'create table t (a int)', true],
  [{ class: 'ddl' }, 'create table t (a int)', true],
  [{ class: 'ddl' }, 'insert into t values (1)', false],
  [{ class: 'write' }, 'begin', false],
  [{ class: 'transaction' }, 'begin', true],
  [{ class: 'transaction' }, 'start transaction read only', true],
  [{ class: 'transaction' }, 'savepoint a', true],
  [{ class: 'write' }, 'begin; insert into t values (1); commit', true],
  [{ class: 'session' }, 'set a = 1', true],
  [{ class: 'session' }, 'show all', true],
  [{ class: 'write' }, 'set a = 1', false],
  [{ class: ['ddl', 'session'] }, 'set a = 1', true],
  [{ class: 'write' }, 'prepare p as delete from t', true],
  [{ class: 'write' }, 'prepare p as select 1', false],
  [{ class: 'session' }, 'set @a = 1', true, 'mysql'],
  [{ class: 'write' }, 'set @a = 1', false, 'mysql'],
  [{ class: 'read' }, 'show tables', true, 'mysql'],
  [{ class: 'write' }, 'call p()', true, 'mysql'],
  // Any statement of several.
  [{ shape: 'delete from t' }, 'select 1; delete from t; select 2', true],
  [{ shape: 'delete from t' }, "select ';'; delete from u", false],
  [{ shapePattern: '^delete' }, 'select 1; delete from t', true],
  [{ class: 'write' }, 'select 1; delete from t', true],
  [{ class: 'read' }, 'select 1; select 2', true],
  // Everything at once.
  [{ user: 'app', class: 'read', shapePattern: 'orders' }, 'select * from orders', true],
  [{ user: 'app', class: 'read', shapePattern: 'orders' }, 'delete from orders', false],
];

describe('a rule matches', () => {
  for (const [match, sql, matches, protocol] of MATCHES) {
    test(`${JSON.stringify(match)}: ${sql}: ${matches ? 'yes' : 'no'}`, () => {
      const rules = ruleSet([{ match, action }], protocol);
      const unit = [statement(sql, protocol)];
      const found = rules.forConnection(facts).match(unit);
      assert.equal(found !== NO_MATCH, matches);
      const [verdict] = rules.explain(facts, unit);
      assert.equal(verdict!.matches, matches);
      assert.ok(matches || verdict!.why !== 'matches', verdict!.why);
    });
  }
});

test('the first rule that matches decides; one that says so lets later ones fill in', () => {
  const rules = ruleSet([
    { name: 'log', action: { log: true }, continue: true },
    {
      name: 'slow',
      match: { shapePattern: 'big' },
      action: { timeoutMs: 5, route: 'replica' },
      continue: true,
    },
    { name: 'app', match: { user: 'app' }, action: { timeoutMs: 9, maxLagMs: 3 } },
    { name: 'never', action: { route: 'primary' } },
  ]).forConnection(facts);
  const big = rules.match([statement('select * from big')]);
  assert.deepEqual(big.names, ['log', 'slow', 'app']);
  assert.equal(big.log, 'info');
  assert.deepEqual([big.layer.timeoutMs, big.layer.maxLagMs, big.layer.target?.kind], [5, 3, 'replica']);
  const small = rules.match([statement('select * from small')]);
  assert.deepEqual(small.names, ['log', 'app']);
  assert.deepEqual([small.layer.timeoutMs, small.layer.target], [9, null]);
});

test('several statements in one unit: any denial, the primary for all, the shortest time', () => {
  const rules = ruleSet([
    { name: 'a', match: { shapePattern: 'from a' }, action: { route: 'replica', timeoutMs: 9 } },
    { name: 'b', match: { shapePattern: 'from b' }, action: { route: 'primary', timeoutMs: 5 } },
    { name: 'c', match: { shapePattern: 'from c' }, action: { deny: 'no' } },
  ]).forConnection(facts);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((table) => statement(`select * from ${table}`)) as [
    RuledStatement,
    RuledStatement,
    RuledStatement,
    RuledStatement,
  ];
  const ab = rules.match([a, b]);
  assert.deepEqual([ab.layer.target?.kind, ab.layer.timeoutMs, ab.deny], ['primary', 5, null]);
  assert.deepEqual(rules.match([d, a]).layer.target?.kind, 'replica');
  assert.deepEqual(rules.match([d, d]), NO_MATCH);
  assert.deepEqual(rules.match([a, c]).deny, { rule: 'c', message: 'no' });
  const text = rules.match([statement('select * from a; select * from b; select * from c')]);
  assert.deepEqual([text.names, text.deny?.rule], [['a', 'b', 'c'], 'c']);
  // Nothing is made twice, however often it is asked.
  assert.equal(rules.match([a, b]), ab);
});

test('a pattern is tried once for a shape, and connections of the same rules share what is known', () => {
  let tries = 0;
  const config = configFrom({
    listeners: [{}],
    clusters: [
      {
        protocol: 'postgres',
        nodes: [{ host: 'h' }],
        rules: [
          { match: { user: 'nobody' }, action },
          { match: { shapePattern: 'x' }, action },
        ],
      },
    ],
  });
  const rules = new RuleSet(config.clusters[0]!.rules, (_, pattern, shape) => {
    tries++;
    return pattern.test(shape);
  });
  const one = rules.forConnection(facts);
  assert.equal(rules.forConnection({ ...facts, user: 'another' }), one);
  const other = rules.forConnection({ ...facts, user: 'nobody' });
  assert.notEqual(other, one);
  for (let i = 0; i < 10; i++) one.match([statement(`select ${i} from x`)]);
  for (let i = 0; i < 10; i++) other.match([statement(`select ${i} from x`)]);
  assert.equal(tries, 1);
});

test('explain tells of every rule why it did not match', () => {
  const rules = ruleSet([
    { name: 'user', match: { user: 'report*' }, action },
    { name: 'net', match: { clientAddress: '192.168.0.0/16' }, action },
    { name: 'class', match: { class: 'write' }, action },
    { name: 'shape', match: { shape: 'select 2 from t' }, action },
    { name: 'pattern', match: { shapePattern: 'orders' }, action },
    { name: 'hit', match: { class: 'read' }, action },
    { name: 'late', action },
  ]);
  assert.deepEqual(
    rules.explain(facts, [statement('select 1')]).map(({ rule, why }) => `${rule}: ${why}`),
    [
      'user: user "app" is not report*',
      'net: client address ::ffff:10.1.2.3 is not in 192.168.0.0/16',
      'class: its class is not write',
      'shape: its shape is another',
      'pattern: its shape has nothing of orders',
      'hit: matches',
      'late: rule hit matched before',
    ],
  );
});

test('the members of a text', () => {
  assert.deepEqual(membersOf('select ?; delete from t'), ['select ?', 'delete from t']);
  assert.deepEqual(membersOf('select ";" from `a;b`; x;'), ['select ";" from `a;b`', 'x']);
});

test('networks and addresses', () => {
  const cases: [string, string, boolean][] = [
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['::ffff:10.0.0.0/104', '10.0.0.1', true],
    ['0.0.0.0/0', '1.2.3.4', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '1.2.3.4', true],
    ['192.168.1.128/25', '192.168.1.200', true],
    ['192.168.1.128/25', '192.168.1.100', false],
    ['fd00::/8', 'fd12:3456::1', true],
    ['fd00::/8', 'fe80::1%eth0', false],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '', false],
  ];
  for (const [network, address, isIn] of cases)
    assert.equal(isInNetwork(address, parseNetwork(network)!), isIn, `${address} in ${network}`);
  for (const wrong of [
    '10.0.0.0/33',
    '10.0.0/8',
    '300.1.1.1',
    'localhost',
    '::1/129',
    '1::2::3',
    '10.0.0.1/',
    '01.2.3.4',
    ':1',
    '1:2:3:4:5:6:7:8:9',
  ])
    assert.equal(parseNetwork(wrong), null, wrong);
});

test('stars stand for anything', () => {
  for (const [pattern, text, matches] of [
    ['*', '', true],
    ['a*', 'abc', true],
    ['*c', 'abc', true],
    ['a*c', 'abbc', true],
    ['a*b*c', 'aXbXbXc', true],
    ['a*b', 'abc', false],
    ['', 'a', false],
    ['a.c', 'abc', false],
    [`${'*'.repeat(200)}b`, 'a'.repeat(5_000), false],
  ] as const)
    assert.equal(globMatches(pattern, text), matches, `${pattern.slice(0, 20)} on ${text.slice(0, 20)}`);
});
