// Reads what a KILL aims at; whose id it is, is not known here.

import type { MysqlLexSettings } from '../statement.js';
import { MysqlLexer, tokenKind } from './lexer.js';
import type { Span } from './split.js';
import { Tokens } from './tokens.js';

export interface KillTarget {
  /** The whole connection, or the statement that runs on it (KILL QUERY). */
  readonly what: 'connection' | 'query';
  /** An id as the client knows it; null: CONNECTION_ID(), its own. */
  readonly id: number | null;
}

/** What a text that was classified as a KILL with the route `proxy` aims at; null for any other text. */
export function killTarget(sql: Buffer, settings: MysqlLexSettings): KillTarget | null {
  const lexer = new MysqlLexer();
  lexer.scan(sql, settings);
  const tokens = new Tokens(lexer, sql, settings.characterSet);
  if (tokens.malformed || !tokens.is(0, 'kill')) return null;
  return killTargetOf(tokens, { from: 0, to: tokens.count, program: false });
}

/** KILL [HARD | SOFT] [CONNECTION | QUERY] id; anything else (USER, QUERY ID, an expression) is null. */
export function killTargetOf(tokens: Tokens, { from, to }: Span): KillTarget | null {
  let i = from + 1;
  if (tokens.is(i, 'hard') || tokens.is(i, 'soft')) i++;
  const query = tokens.is(i, 'query');
  if (query || tokens.is(i, 'connection')) i++;
  const what = query ? 'query' : 'connection';
  if (to - i === 1 && tokens.kind(i) === tokenKind.number) {
    const id = Number(tokens.raw(i, i + 1));
    return Number.isSafeInteger(id) && id > 0 ? { what, id } : null;
  }
  const own =
    to - i === 3 &&
    tokens.is(i, 'connection_id') &&
    tokens.kind(i + 1) === tokenKind.open &&
    tokens.kind(i + 2) === tokenKind.close;
  return own ? { what, id: null } : null;
}
