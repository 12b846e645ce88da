// What surrounds a class: hints, caches and their counts, a new catalog, the shape's bound, what a KILL aims at.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  buildMysqlCatalog,
  type MysqlCatalog,
  type MysqlRoutineRow,
} from '../../../src/sql/mysql/catalog.js';
import { createMysqlClassifier } from '../../../src/sql/mysql/classifier.js';
import { killTarget } from '../../../src/sql/mysql/kill.js';
import { settingsOf } from './golden.js';

const mysql = settingsOf('mysql');
const mariadb = settingsOf('mariadb');
const text = (sql: string) => Buffer.from(sql);

test('a hint counts in a leading comment only', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const hint = (sql: string) => {
    const found = classifier.classify(text(sql), mysql).hint;
    return found === null ? null : Object.fromEntries(found);
  };
  assert.deepEqual(hint('/* scheelite: route=primary maxLagMs=500 */ SELECT 1'), {
    route: 'primary',
    maxlagms: '500',
  });
  assert.deepEqual(hint(' /* app */ /*scheelite:session=alice*/SELECT 1'), { session: 'alice' });
  assert.deepEqual(hint('-- x\n/* scheelite: a=1 */ SELECT 1'), { a: '1' });
  assert.equal(hint('SELECT /* scheelite: route=primary */ 1'), null);
  assert.equal(hint('SELECT 1 /* scheelite: route=primary */'), null);

  assert.equal(hint("SELECT '/* scheelite: route=primary */'"), null);
  assert.equal(hint('/*! scheelite: route=primary */ SELECT 1'), null);
  // The statement behind it is found in the same cache entry, with a hint or without.
  const before = classifier.stats.misses;
  classifier.classify(text('/* scheelite: route=replica */ SELECT 1'), mysql);
  assert.equal(classifier.stats.misses, before);
});

test('hits and misses are counted, literals make no entry', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  for (let i = 0; i < 100; i++) classifier.classify(text(`SELECT a FROM t WHERE id = ${i}`), mysql);
  const { hits, misses, entries } = classifier.stats;
  assert.deepEqual({ hits, misses, entries }, { hits: 99, misses: 1, entries: 1 });
  for (const value of ['1', '0', '1', '0']) classifier.classify(text(`SET autocommit = ${value}`), mysql);
  assert.equal(classifier.stats.hits, 101);
  assert.equal(classifier.stats.misses, 3);
});

test('the settings are part of the key', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const verb = (sql: string, settings = mysql) =>
    classifier.classify(text(sql), settings).statement.transaction?.kind;
  assert.equal(verb('BEGIN'), 'begin');
  assert.equal(verb('BEGIN', { ...mariadb, oracleMode: true }), undefined);
  assert.equal(verb('BEGIN'), 'begin');
  const route = (sql: string, settings = mysql) => classifier.classify(text(sql), settings).statement.route;
  assert.equal(route('SELECT ANY_VALUE(1)'), 'replica');
  assert.equal(route('SELECT ANY_VALUE(1)', mariadb), 'primary');
});

test('a new catalog makes the old conclusions void', () => {
  const routine: MysqlRoutineRow = {
    schema_name: 'shop',
    name: 'price',
    data_access: 'READS SQL DATA',
    language: 'SQL',
    definition: 'RETURN (SELECT a FROM t WHERE id = x)',
    sql_mode: '',
  };
  const rows = { routines: [routine], parameters: [], views: [], sequences: [], loadable: [] };
  let catalog: MysqlCatalog | null = null;
  const classifier = createMysqlClassifier({ catalog: () => catalog });
  const route = () => classifier.classify(text('SELECT price(1)'), mysql).statement.route;
  assert.equal(route(), 'primary');
  catalog = buildMysqlCatalog(rows, mysql);
  assert.equal(route(), 'replica');
  catalog = buildMysqlCatalog(
    { ...rows, routines: [{ ...routine, definition: 'BEGIN DELETE FROM t; RETURN 1; END' }] },
    mysql,
  );
  classifier.catalogChanged();
  assert.equal(route(), 'primary');
  assert.deepEqual(catalog.counts, { functions: 1, readOnly: 0, views: 0 });
});

test('classes are shared and cannot be changed', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const { statement } = classifier.classify(text('SELECT 1'), mysql);
  assert.equal(classifier.classify(text('SELECT 2'), mysql).statement, statement);
  assert.ok(
    Object.isFrozen(statement) && Object.isFrozen(statement.reasons) && Object.isFrozen(statement.session),
  );
});

test('a shape is shown under its bound', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const long = classifier.classify(text(`SELECT ${'abcdefgh, '.repeat(1000)}1`), mysql);
  assert.equal(long.shape.length, 2048 + 3);
  assert.ok(long.shape.endsWith('...'));
  assert.equal(long.statement.route, 'replica');
});

test('what a shape does not show of a long text is seen all the same', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const columns = Array.from({ length: 4000 }, (_, i) => `c${i}`).join(', ');
  const route = (tail: string) =>
    classifier.classify(text(`SELECT ${columns} FROM t ${tail}`), mysql).statement.route;
  assert.equal(route(''), 'replica');
  assert.equal(route('FOR UPDATE'), 'primary');
  assert.equal(route(''), 'replica');
});

test('the body of a PREPARE is judged with the settings of the session', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  const body = (sql: string, settings = mysql) => {
    const { prepared } = classifier.classify(text(sql), settings).statement;
    return prepared?.kind === 'prepare' ? prepared.body?.route : undefined;
  };
  assert.equal(body(`PREPARE s FROM 'SELECT "a"'`), 'replica');
  assert.equal(body(`PREPARE s FROM 'SELECT "writes"(1)'`, { ...mysql, ansiQuotes: true }), 'primary');
  assert.equal(body(`PREPARE s FROM 'PREPARE t FROM \\'SELECT 1\\''`), 'primary');
});

test('what a KILL aims at', () => {
  const target = (sql: string, settings = mysql) => killTarget(text(sql), settings);
  assert.deepEqual(target('KILL 5'), { what: 'connection', id: 5 });
  assert.deepEqual(target('kill connection 5;'), { what: 'connection', id: 5 });
  assert.deepEqual(target('KILL QUERY 7'), { what: 'query', id: 7 });
  assert.deepEqual(target('KILL HARD QUERY 7', mariadb), { what: 'query', id: 7 });
  assert.deepEqual(target('KILL CONNECTION_ID()'), { what: 'connection', id: null });
  for (const other of [
    'KILL',
    'KILL USER a',
    'KILL QUERY ID 5',
    'KILL 1 + 1',
    "KILL '5'",
    'SELECT 5',
    'KILL -5',
  ]) {
    assert.equal(target(other, mariadb), null, other);
  }
});
