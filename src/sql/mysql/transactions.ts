// Judges transaction control. What the server says about its transaction is the authority; this only foretells it.

import { type Context, Draft } from './context.js';
import { tokenKind } from './lexer.js';
import type { Span } from './split.js';
import type { Tokens } from './tokens.js';

/** BEGIN [WORK] (MariaDB's blocks are judged before), START TRANSACTION ... */
export function judgeBegin({ tokens }: Context, { from, to }: Span): Draft {
  const start = tokens.is(from, 'start');
  const draft = new Draft(start ? 'START TRANSACTION' : 'BEGIN');
  let readOnly: boolean | null = null;
  let snapshot = false;
  for (let i = from + (start ? 2 : 1); i < to; ) {
    if (tokens.kind(i) === tokenKind.comma || (!start && tokens.is(i, 'work'))) i++;
    else if (start && tokens.are(i, 'read', 'only')) {
      readOnly = true;
      i += 2;
    } else if (start && tokens.are(i, 'read', 'write')) {
      readOnly = false;
      i += 2;
    } else if (start && tokens.are(i, 'with', 'consistent', 'snapshot')) {
      snapshot = true;
      i += 3;
    } else {
      draft.primary(`not understood behind ${draft.verb}`);
      draft.transaction = { kind: 'begin', readOnly: null, isolation: null, snapshot: false };
      return draft;
    }
  }
  draft.transaction = { kind: 'begin', readOnly, isolation: null, snapshot };
  if (readOnly === true) {
    draft.route = 'replica';
    draft.because('READ ONLY transaction');
  } else draft.primary('a transaction that may write');
  return draft;
}

/** COMMIT, ROLLBACK, SAVEPOINT, RELEASE SAVEPOINT: where the transaction is. */
export function judgeEnd({ tokens }: Context, { from, to }: Span): Draft {
  const verb = tokens.word(from);
  const draft = new Draft(verb.toUpperCase());
  draft.route = 'last';
  draft.because('belongs to the transaction');
  if (verb === 'savepoint') draft.transaction = { kind: 'savepoint' };
  else if (verb === 'release') draft.transaction = { kind: 'release' };
  else {
    const at = tokens.is(from + 1, 'work') ? from + 2 : from + 1;
    if (verb === 'rollback' && tokens.is(at, 'to')) draft.transaction = { kind: 'rollback-to' };
    else {
      const chain = at < to && tokens.are(at, 'and', 'chain');
      draft.transaction = { kind: verb === 'commit' ? 'commit' : 'rollback', chain };
    }
  }
  return draft;
}

export interface Characteristics {
  isolation: string | null;
  readOnly: boolean | null;
}

/** ISOLATION LEVEL ..., READ ONLY, READ WRITE, separated by commas; null when something else stands there. */
export function characteristics(tokens: Tokens, from: number, to: number): Characteristics | null {
  const found: Characteristics = { isolation: null, readOnly: null };
  let i = from;
  while (i < to) {
    if (tokens.are(i, 'isolation', 'level')) {
      const first = tokens.word(i + 2);
      if (first === 'serializable') {
        found.isolation = first;
        i += 3;
      } else if ((first === 'read' || first === 'repeatable') && i + 3 < to) {
        found.isolation = `${first} ${tokens.word(i + 3)}`;
        i += 4;
      } else return null;
    } else if (tokens.are(i, 'read', 'only') || tokens.are(i, 'read', 'write')) {
      found.readOnly = tokens.is(i + 1, 'only');
      i += 2;
    } else return null;
    if (i < to && tokens.kind(i++) !== tokenKind.comma) return null;
  }
  return i > from ? found : null;
}
