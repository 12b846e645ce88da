// Tracked settings: what SET and RESET leave, and the statements that bring a server connection there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStartupOptions } from '../../src/postgres/startup-options.js';
import { setStatement, TrackedState } from '../../src/postgres/tracked-state.js';
import { quoteLiteral } from '../../src/sql/postgres/quote.js';
import type { SessionEffect } from '../../src/sql/statement.js';

const set = (name: string, sql: string, local = false): SessionEffect => ({
  kind: 'set',
  name,
  value: '',
  local,
  sql,
});
const none = TrackedState.empty;

test('SET is repeated, RESET takes it back', () => {
  const state = none.apply(
    [set('timezone', "SET timezone TO 'UTC'"), set('work_mem', "SET work_mem TO '1MB'")],
    none,
  );
  assert.equal(state.statementsFrom(none), "SET timezone TO 'UTC'; SET work_mem TO '1MB'");
  assert.equal(none.statementsFrom(state), 'RESET "timezone"; RESET "work_mem"');
  assert.equal(
    state.apply([{ kind: 'reset', name: 'work_mem' }], none).statementsFrom(state),
    'RESET "work_mem"',
  );
});

test('SET LOCAL is not tracked', () => {
  assert.equal(none.apply([set('timezone', 'x', true)], none), none);
});

test('SET datestyle with half of it: the other half is repeated too, however often it is set', () => {
  const style = (value: string): SessionEffect => ({
    ...{ kind: 'set', name: 'datestyle', local: false },
    ...{ value, sql: `SET datestyle TO ${value}` },
  });
  const statements = (base: TrackedState, ...values: readonly string[]) =>
    values.reduce((state, value) => state.apply([style(value)], base), base).statementsFrom(none);
  assert.equal(statements(none, 'ymd'), "RESET datestyle; SET datestyle TO 'ymd'");
  assert.equal(
    statements(none, 'ymd', 'ISO', 'us', 'sql'),
    "RESET datestyle; SET datestyle TO 'sql'; SET datestyle TO 'us'",
  );
  assert.equal(
    statements(none, 'ymd', 'iso'),
    "RESET datestyle; SET datestyle TO 'iso'; SET datestyle TO 'ymd'",
  );
  assert.equal(statements(none, 'iso', 'sql, dmy'), 'SET datestyle TO sql, dmy');
  assert.equal(statements(none, 'iso', 'german'), 'SET datestyle TO german');
  const full = TrackedState.of(new Map([['datestyle', setStatement('datestyle', 'Postgres, MDY')]]));
  assert.equal(
    statements(full, 'dmy'),
    "SELECT pg_catalog.set_config('datestyle', 'Postgres, MDY', false); SET datestyle TO 'dmy'",
  );
  assert.equal(setStatement('datestyle', 'ymd'), "RESET datestyle; SET datestyle TO 'ymd'");
});

test('RESET goes back to the startup parameter', () => {
  const base = TrackedState.of(new Map([['timezone', setStatement('timezone', 'UTC')]]));
  const changed = base.apply([set('timezone', 'SET timezone TO 1')], base);
  assert.equal(changed.apply([{ kind: 'reset', name: 'timezone' }], base).digest, base.digest);
  assert.equal(changed.apply([{ kind: 'reset-all' }], base).digest, base.digest);
  assert.equal(changed.apply([{ kind: 'discard', what: 'all' }], base).digest, base.digest);
  assert.equal(changed.apply([{ kind: 'discard', what: 'plans' }], base), changed);
});

test('identity is given up first and taken on last', () => {
  const from = none.apply([set('role', 'SET ROLE a')], none);
  const to = none.apply([set('role', 'SET ROLE b'), set('work_mem', 'SET work_mem TO 1')], none);
  assert.equal(to.statementsFrom(from), 'RESET ROLE; SET work_mem TO 1; SET ROLE b');
});

test('SET SESSION AUTHORIZATION puts the role back, RESET ALL leaves both', () => {
  const role = none.apply([set('role', 'SET ROLE a')], none);
  const both = role.apply([set('session_authorization', 'SET SESSION AUTHORIZATION b')], none);
  assert.equal(both.statementsFrom(none), 'SET SESSION AUTHORIZATION b');
  assert.equal(role.apply([{ kind: 'reset-all' }], none).digest, role.digest);
  assert.equal(role.apply([{ kind: 'discard', what: 'all' }], none).digest, none.digest);
});

test('the digest does not depend on the order of the statements', () => {
  const ab = none.apply([set('a', 'SET a TO 1'), set('b', 'SET b TO 2')], none);
  const ba = none.apply([set('b', 'SET b TO 2'), set('a', 'SET a TO 1')], none);
  assert.equal(ab.digest, ba.digest);
  assert.equal(ab.statementsFrom(ba), '');
});

test('values are quoted so that nothing in them is code', () => {
  assert.equal(quoteLiteral("a'b"), "'a''b'");
  assert.equal(quoteLiteral("a\\'; DROP TABLE t; --"), "E'a\\\\''; DROP TABLE t; --'");
  assert.equal(
    setStatement("my.set'ting", 'a,b'),
    "SELECT pg_catalog.set_config('my.set''ting', 'a,b', false)",
  );
});

test('startup options: switches become settings, anything else is refused', () => {
  assert.deepEqual(
    [...parseStartupOptions('-c a=b --work-mem=1MB -cx.y=a\\ b')],
    [
      ['a', 'b'],
      ['work_mem', '1MB'],
      ['x.y', 'a b'],
    ],
  );
  assert.throws(() => parseStartupOptions('-P'), /startup option "-P"/);
  assert.throws(() => parseStartupOptions('-c a'), /startup option/);
});
