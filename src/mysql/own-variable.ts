// `@scheelite_consistency`: a user variable that belongs to the proxy. How clients set and read it, and what they are answered.
// It knows no server connection; no other user variable is touched.

import { CONSISTENCY_LEVELS, type ConsistencyLevel, levelOf } from '../consistency/levels.js';
import { ProxyError } from '../lib/errors.js';
import type { Classified } from '../sql/statement.js';
import type { ClientSession } from './client-session.js';
import { oneValue, preparedOwn } from './own-result.js';
import { PacketReader } from './wire/bytes.js';
import type { Execute } from './wire/execute.js';
import { buildPlainOk } from './wire/ok.js';

export type OwnVariableStatement =
  /** `undefined`: a parameter says it. */
  | { readonly kind: 'set'; readonly value: string | null | undefined }
  | { readonly kind: 'show'; readonly column: string };

const NAME = 'scheelite_consistency';
const MARK = Buffer.from(NAME);
const COMMENTS = String.raw`^(?:\s|/\*(?!!)(?:[^*]|\*(?!/))*\*/)*`;
const SET = new RegExp(
  `${COMMENTS}set\\s+@(\`?)${NAME}\\1\\s*:?=\\s*(?:'([^'\\\\]*)'|"([^"\\\\]*)"|(null|default)|(\\?)|(\\w+))\\s*;?\\s*$`,
  'i',
);
const SELECT = new RegExp(
  `${COMMENTS}select\\s+(@(\`?)${NAME}\\2)(?:\\s+(?:as\\s+)?([\`'"]?)(\\w+)\\3)?\\s*;?\\s*$`,
  'i',
);

/** Null: it is not about the proxy's variable. Throws ProxyError where it is in any other way than these two. */
export function ownVariableStatement({ statement }: Classified, sql: Buffer): OwnVariableStatement | null {
  if (statement.pin !== 'user-variable' || (statement.verb !== 'SET' && statement.verb !== 'SELECT'))
    return null;
  if (!sql.includes(MARK) && !/@`?scheelite_consistency/i.test(sql.toString('latin1'))) return null;
  const text = sql.toString('utf8');
  const set = SET.exec(text);
  if (set !== null) {
    const value =
      set[5] !== undefined ? undefined : set[4] !== undefined ? null : (set[2] ?? set[3] ?? set[6]!);
    return { kind: 'set', value };
  }
  const select = SELECT.exec(text);
  if (select !== null) return { kind: 'show', column: select[4] ?? select[1]! };
  if (!new RegExp(`@\`?${NAME}\\b`, 'i').test(text)) return null;
  throw new ProxyError('unsupported-feature', {
    feature: `@${NAME} in any statement but SET @${NAME} = '...' and SELECT @${NAME}`,
  });
}

export function answerOwnVariable(
  session: ClientSession,
  own: OwnVariableStatement,
  execute: { readonly command: Execute; readonly types: Buffer | null; readonly longData: boolean } | null,
  sequence: number,
): Buffer {
  if (own.kind === 'show') {
    const column = { name: own.column, type: 'text' } as const;
    return oneValue(session, column, session.consistency, sequence, execute !== null);
  }
  const value = own.value !== undefined || execute === null ? own.value : parameterOf(execute);
  session.setConsistency(value == null || value === '' ? null : levelNamed(value));
  return buildPlainOk(session.status, session.capabilities, sequence);
}

export function prepareOwnVariable(
  session: ClientSession,
  own: OwnVariableStatement,
  statementId: number,
  sequence: number,
): Buffer {
  const column = own.kind === 'show' ? ({ name: own.column, type: 'text' } as const) : null;
  return preparedOwn(session, statementId, parametersOf(own), column, sequence);
}

export function parametersOf(own: OwnVariableStatement): number {
  return own.kind === 'set' && own.value === undefined ? 1 : 0;
}

function levelNamed(value: string): ConsistencyLevel {
  const level = levelOf(value);
  if (level !== null) return level;
  throw new ProxyError('invalid-setting', { name: `@${NAME}`, value, values: CONSISTENCY_LEVELS.join(', ') });
}

/** MYSQL_TYPE_VARCHAR, and from MYSQL_TYPE_ENUM on what is sent as text. */
function isText(type: number): boolean {
  return type === 15 || type >= 247;
}

function parameterOf({
  command,
  types,
  longData,
}: {
  readonly command: Execute;
  readonly types: Buffer | null;
  readonly longData: boolean;
}): string | null {
  if (((command.nullBitmap[0] ?? 0) & 1) !== 0) return null;
  if (longData || types === null || !isText(types[0] ?? 0))
    throw new ProxyError('unsupported-feature', { feature: `a value of @${NAME} that is no text` });
  return new PacketReader(command.values).lenencText();
}
