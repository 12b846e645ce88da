// What a unit on the primary has shown its session, by what it was and what came back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answered, TransactionStatus, Unit } from '../../src/protocol/unit.js';
import { shownByPrimary } from '../../src/proxy/session-rules.js';
import { emptyStatement } from '../../src/sql/merge.js';
import type { StatementClass } from '../../src/sql/statement.js';

const POSITION = { text: '0-1-7' };
const COMMIT = { transaction: { kind: 'commit', chain: false } } as const;
const BEGIN = { transaction: { kind: 'begin', readOnly: null, isolation: null, snapshot: false } } as const;

const unit = (verb: string, changes: Partial<StatementClass> = {}) =>
  ({
    open: false,
    statement: { ...emptyStatement, route: 'primary', statements: 1, verb, ...changes },
  }) as Unit;
const answered = (transaction: TransactionStatus, changes: Partial<Answered> = {}): Answered => ({
  ...{ kind: 'answered', transaction, error: null, position: null, returnedRows: false, gatedAt: null },
  ...{ serviceMs: 0, replyBytes: 0, rows: 0, ...changes },
});
const told = { position: POSITION };

const CASES: [string, Unit, Answered, boolean, ReturnType<typeof shownByPrimary>][] = [
  ['a write that tells its position', unit('UPDATE'), answered('idle', told), false, 'own-write'],
  ['one that tells none', unit('UPDATE'), answered('idle'), false, 'anything'],
  ['RETURNING', unit('INSERT'), answered('idle', { ...told, returnedRows: true }), false, 'anything'],
  ['a read', unit('SELECT'), answered('idle', { returnedRows: true }), false, 'anything'],
  ['a procedure', unit('CALL'), answered('idle', told), false, 'anything'],
  ['DDL', unit('CREATE', { ddl: true }), answered('idle', told), false, 'anything'],
  ['two statements', unit('UPDATE', { statements: 2 }), answered('idle', told), false, 'anything'],
  [
    'an error: a duplicate key tells of others',
    unit('INSERT'),
    answered('idle', { ...told, error: { code: '1062', message: '' } }),
    false,
    'anything',
  ],
  ['BEGIN', unit('BEGIN', BEGIN), answered('transaction'), false, 'nothing'],
  ['BEGIN inside: it commits what was open', unit('BEGIN', BEGIN), answered('transaction'), true, 'anything'],
  ['a write inside', unit('UPDATE'), answered('transaction'), true, 'nothing'],
  ['a write that begins a transaction', unit('UPDATE'), answered('transaction'), false, 'anything'],
  ['a read inside', unit('SELECT'), answered('transaction', { returnedRows: true }), true, 'anything'],
  ['COMMIT', unit('COMMIT', COMMIT), answered('idle', told), true, 'own-write'],
  ['COMMIT that tells nothing', unit('COMMIT', COMMIT), answered('idle'), true, 'anything'],
  ['ROLLBACK', unit('ROLLBACK'), answered('idle'), true, 'anything'],
];

for (const [name, each, outcome, wasInTransaction, expected] of CASES)
  test(`shown by the primary: ${name}`, () => {
    assert.equal(shownByPrimary(each, outcome, wasInTransaction), expected);
  });
