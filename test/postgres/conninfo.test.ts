// Connection strings of primary_conninfo: every form is read, and pointing it elsewhere keeps the rest.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatConninfo, NOWHERE, parseConninfo, repoint, upstreamOf } from '../../src/postgres/conninfo.js';

test('forms', () => {
  const cases: [text: string, pairs: Record<string, string>][] = [
    ['', {}],
    ['host=a port=1', { host: 'a', port: '1' }],
    ["  host = 'a b'  port=1 ", { host: 'a b', port: '1' }],
    ["password='it''s'", { password: 'it' }],
    [String.raw`password='it\'s \\ here' user=u`, { password: String.raw`it's \ here`, user: 'u' }],
    [String.raw`password=a\ b user=u`, { password: 'a b', user: 'u' }],
    ["host=a application_name=''", { host: 'a', application_name: '' }],
    ['postgres://h', { host: 'h' }],
    [
      'postgresql://u:p%40ss@h:5433/db?sslmode=require&application_name=x%20y',
      {
        user: 'u',
        password: 'p@ss',
        host: 'h',
        port: '5433',
        dbname: 'db',
        sslmode: 'require',
        application_name: 'x y',
      },
    ],
    ['postgresql://u@[::1]:5433,b', { user: 'u', host: '::1,b', port: '5433,' }],
    ['postgresql:///db?host=/tmp', { dbname: 'db', host: '/tmp' }],
  ];
  for (const [text, pairs] of cases) {
    if (text.includes("''s")) {
      assert.throws(() => parseConninfo(text), TypeError, 'libpq escapes by backslash only');
      continue;
    }
    assert.deepEqual(Object.fromEntries(parseConninfo(text)), pairs, text);
    assert.deepEqual(parseConninfo(formatConninfo(parseConninfo(text))), parseConninfo(text), text);
  }
});

test('what libpq refuses is refused', () => {
  for (const text of ['host', 'host a', '=a', "host='a", 'postgres://h?x', 'postgres://h:x'])
    assert.throws(() => parseConninfo(text), TypeError, text);
});

test('another server, the same account and options', () => {
  const text =
    "user=repl password='s e\\'cret' host=old,older hostaddr=10.0.0.1 port=1,2 application_name=node2 sslmode=disable";
  const moved = repoint(text, 'new', 5433);
  assert.deepEqual(Object.fromEntries(parseConninfo(moved)), {
    user: 'repl',
    password: "s e'cret",
    host: 'new',
    port: '5433',
    application_name: 'node2',
    sslmode: 'disable',
  });
  assert.deepEqual(upstreamOf(moved), { host: 'new', port: 5433 });
  const stopped = repoint(text, NOWHERE, null);
  assert.equal(upstreamOf(stopped), null);
  assert.equal(parseConninfo(stopped).get('password'), "s e'cret");
  assert.equal(repoint(stopped, 'new', 5433).includes(NOWHERE), false);
  assert.equal(upstreamOf('host'), null);
  assert.equal(upstreamOf(''), null);
});
