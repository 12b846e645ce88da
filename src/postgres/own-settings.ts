// Settings of the proxy's own (`scheelite.consistency`) as PostgreSQL clients set, show and reset them: recognized, kept as a
// server keeps its settings, and answered as one would. It knows no connection, and not what a level means.

import { CONSISTENCY_LEVELS, type ConsistencyLevel, levelOf } from '../consistency/levels.js';
import { ProxyError } from '../lib/errors.js';
import type { SessionLevel } from '../protocol/client-connection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { Classified, StatementClass } from '../sql/statement.js';
import type { ExtendedBatch } from './extended-batch.js';
import { type ClientStatements, sqlOf, type TextReader } from './prepared-statements.js';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
  proxyErrorResponse,
  readyForQuery,
  textDataRow,
  textRowDescription,
} from './wire/backend-messages.js';

/** Of settings that no server is told. */
export const OWN_PREFIX = 'scheelite.';
const CONSISTENCY = 'scheelite.consistency';
type OwnStatement =
  /** `column`: of the row that SELECT set_config answers with; null: SET. */
  | {
      readonly kind: 'set';
      readonly level: ConsistencyLevel;
      readonly local: boolean;
      readonly column: string | null;
    }
  | { readonly kind: 'reset' }
  | { readonly kind: 'show' };

/** Null: it is for a server. Throws ProxyError where it cannot be obeyed. */
function ownStatement({ statement, shape }: Classified): OwnStatement | null {
  if (!mayBeOwn(statement)) return null;
  if (statement.verb === 'SHOW' && statement.session.length === 0) {
    const name = /^show\s+"?(scheelite"?\."?[a-z0-9_]+)"?\s*;?\s*$/i.exec(shape)?.[1];
    if (name === undefined) return null;
    checkName(name.replaceAll('"', '').toLowerCase());
    return { kind: 'show' };
  }
  const own = statement.session.filter(
    (effect) => (effect.kind === 'set' || effect.kind === 'reset') && effect.name.startsWith(OWN_PREFIX),
  );
  const effect = own[0];
  if (effect === undefined) return null;
  const isSelect = statement.verb === 'SELECT';
  if (statement.statements !== 1 || (isSelect && statement.session.length > 1))
    throw new ProxyError('unsupported-feature', {
      feature: `${statement.verb} ${OWN_PREFIX}* together with other statements`,
    });
  if (effect.kind === 'set') {
    checkName(effect.name);
    if (effect.value === 'DEFAULT' && !isSelect) return { kind: 'reset' };
    const column = isSelect ? 'set_config' : null;
    return { kind: 'set', level: levelNamed(effect.value), local: effect.local, column };
  }
  if (effect.kind === 'reset') checkName(effect.name);
  return { kind: 'reset' };
}

/** What is not, is for a server. */
export function mayBeOwn({ verb, session }: StatementClass): boolean {
  return verb === 'SHOW' || session.length > 0;
}

function checkName(name: string): void {
  if (name !== CONSISTENCY) throw new ProxyError('unknown-setting', { name });
}

function levelNamed(value: string): ConsistencyLevel {
  const level = levelOf(value);
  if (level !== null) return level;
  const values = CONSISTENCY_LEVELS.join(', ');
  throw new ProxyError('invalid-setting', { name: CONSISTENCY, value, values });
}

export class OwnSettings {
  readonly #level: SessionLevel;
  /** Startup options: what RESET goes back to. */
  #base: ConsistencyLevel | null = null;
  #committed: ConsistencyLevel | null = null;
  /** If the open transaction commits; undefined: as before it. */
  #open: ConsistencyLevel | null | undefined;
  /** In force until the open transaction ends (SET LOCAL). */
  #local: ConsistencyLevel | undefined;
  /** Portals of our own, between a Flush and what is executed behind it; null: none. */
  #portals: Map<string, OwnStatement> | null = null;

  constructor(level: SessionLevel) {
    this.#level = level;
  }

  /** What a startup packet asks for. Throws ProxyError. */
  static levelOf(settings: ReadonlyMap<string, string>): ConsistencyLevel | null {
    const value = settings.get(CONSISTENCY);
    return value === undefined ? null : levelNamed(value);
  }

  start(level: ConsistencyLevel | null): void {
    this.#base = level;
    this.#committed = level;
    this.#level.setConsistency(level);
  }

  /** The answers to a simple query; null: it is for a server. */
  answerQuery(classified: Classified, transaction: TransactionStatus): Buffer[] | null {
    try {
      const own = ownStatement(classified);
      if (own === null) return null;
      refuseFailed(transaction);
      const column = columnOf(own);
      const row = column === null ? [] : [textRowDescription([column])];
      return [...row, ...this.#run(own, transaction), readyForQuery(transaction)];
    } catch (error) {
      return [errorOf(error), readyForQuery(transaction)];
    }
  }

  /**
   * The answers to what has come of a batch; `skips`: an error was among them, and its Sync has not come. Null: it is for a
   * server. A batch is ours as a whole or not at all.
   */
  answerBatch(
    batch: ExtendedBatch,
    names: ClientStatements,
    texts: TextReader,
    transaction: TransactionStatus,
  ): { replies: Buffer[]; skips: boolean } | null {
    const { classified } = batch;
    const isWhole = batch.messages.at(-1)?.kind === 'sync';
    const replies: Buffer[] = [];
    try {
      if (
        classified.length === 0
          ? (this.#portals?.size ?? 0) === 0
          : !classified.some((c) => mayBeOwn(c.statement))
      )
        return null;
      const own = classified.map(ownStatement);
      const count = own.filter((each) => each !== null).length;
      if (count < own.length) {
        if (count === 0) return null;
        throw new ProxyError('unsupported-feature', { feature: `${CONSISTENCY} in a batch with others` });
      }
      refuseFailed(transaction);
      this.#answerMessages(batch, names, (sql) => ownStatement(texts.classify(sql)), transaction, replies);
      if (isWhole) replies.push(readyForQuery(transaction));
      return { replies, skips: false };
    } catch (error) {
      replies.push(errorOf(error));
      if (isWhole) replies.push(readyForQuery(transaction));
      return { replies, skips: !isWhole };
    }
  }

  #answerMessages(
    batch: ExtendedBatch,
    names: ClientStatements,
    read: (sql: Buffer) => OwnStatement | null,
    transaction: TransactionStatus,
    replies: Buffer[],
  ): void {
    const statementOf = (name: string): OwnStatement => {
      const text = names.get(name);
      const own = text === undefined ? null : read(sqlOf(text));
      if (own === null) throw new ProxyError('unknown-prepared-statement', { name });
      return own;
    };
    const portalOf = (name: string): OwnStatement => {
      const own = this.#portals?.get(name);
      if (own === undefined) throw new ProxyError('unknown-prepared-statement', { name });
      return own;
    };
    for (const message of batch.messages) {
      switch (message.kind) {
        case 'parse':
          if (message.name !== '' && names.get(message.name) !== undefined)
            throw new ProxyError('duplicate-prepared-statement', { name: message.name });
          names.set(message.name, message.text);
          replies.push(PARSE_COMPLETE);
          break;
        case 'bind':
          this.#portals ??= new Map();
          this.#portals.set(message.fields.portal, statementOf(message.fields.statement));
          replies.push(BIND_COMPLETE);
          break;
        case 'describe': {
          const { kind, name } = message.fields;
          const own = kind === 'statement' ? statementOf(name) : portalOf(name);
          if (kind === 'statement') replies.push(NO_PARAMETERS);
          const column = columnOf(own);
          replies.push(column === null ? NO_DATA : textRowDescription([column]));
          break;
        }
        case 'execute': {
          const end = message.bytes.indexOf(0, 5);
          replies.push(...this.#run(portalOf(message.bytes.toString('latin1', 5, end)), transaction));
          break;
        }
        case 'close':
          if (message.fields.kind === 'statement') names.delete(message.fields.name);
          else this.#portals?.delete(message.fields.name);
          replies.push(CLOSE_COMPLETE);
          break;
        case 'sync':
          this.#portals = null;
          break;
        case 'flush':
        case 'copy':
          break;
      }
    }
  }

  #run(own: OwnStatement, transaction: TransactionStatus): Buffer[] {
    if (own.kind === 'show') return [textDataRow([this.#level.consistency]), commandComplete('SHOW')];
    if (own.kind === 'reset') this.#set(this.#base, transaction);
    else if (!own.local) this.#set(own.level, transaction);
    else if (transaction !== 'idle') this.#local = own.level;
    this.#level.setConsistency(this.current);
    if (own.kind === 'set' && own.column !== null)
      return [textDataRow([own.level]), commandComplete('SELECT 1')];
    return [commandComplete(own.kind === 'reset' ? 'RESET' : 'SET')];
  }

  #set(level: ConsistencyLevel | null, transaction: TransactionStatus): void {
    this.#local = undefined;
    if (transaction === 'idle') this.#committed = level;
    else this.#open = level;
  }

  /** Null: none is set. */
  get current(): ConsistencyLevel | null {
    return this.#local ?? (this.#open === undefined ? this.#committed : this.#open);
  }

  /** By DISCARD ALL, whatever becomes of the rest of its unit. */
  discarded(): void {
    const before = this.current;
    this.#set(this.#base, 'idle');
    if (this.current !== before) this.#level.setConsistency(this.current);
  }

  /** A unit that was a server's has ended; null: with an error. `tag`: of its last CommandComplete. */
  unitEnded(statement: StatementClass | null, transaction: TransactionStatus, tag: string): void {
    const before = this.current;
    for (const effect of statement?.session ?? []) {
      if (effect.kind === 'reset-all' || (effect.kind === 'discard' && effect.what === 'all'))
        this.#set(this.#base, transaction);
    }
    if (transaction === 'idle') this.transactionEnded(tag === 'COMMIT');
    if (this.current !== before) this.#level.setConsistency(this.current);
  }

  transactionEnded(committed: boolean): void {
    const before = this.current;
    if (committed && this.#open !== undefined) this.#committed = this.#open;
    this.#open = undefined;
    this.#local = undefined;
    if (this.current !== before) this.#level.setConsistency(this.current);
  }
}

/** Of the row that it answers with; null: none. */
function columnOf(own: OwnStatement): string | null {
  if (own.kind === 'show') return CONSISTENCY;
  return own.kind === 'set' ? own.column : null;
}

function refuseFailed(transaction: TransactionStatus): void {
  if (transaction === 'failed') throw new ProxyError('transaction-aborted');
}

function errorOf(error: unknown): Buffer {
  if (error instanceof ProxyError) return proxyErrorResponse(error);
  throw error;
}
