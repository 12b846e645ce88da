// The answer to one command, packet by packet: which may pass unseen, which must be looked at, and when it is over.
// It owns no bytes and knows neither client nor server.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html

import { ProxyError } from '../lib/errors.js';
import { CAPABILITY, type Capabilities, hasCapability } from './wire/capabilities.js';
import {
  EOF_BYTE,
  ERR_BYTE,
  type ErrPacket,
  endsResultSet,
  LOCAL_INFILE_BYTE,
  OK_BYTE,
  type OkPacket,
  parseEof,
  parseErr,
  parseOk,
  STATUS,
} from './wire/ok.js';
import { PREPARE_OK_BYTES, type PrepareOk, parsePrepareOk, parseResultSetHead } from './wire/result-set.js';

/**
 * - `results`: OK, ERR, or result sets: almost every command
 * - `query`: the same, and the server may ask for a file
 * - `cursor`: `query` of an execution that asks for a cursor: its rows come when they are fetched
 * - `prepare`: COM_STMT_PREPARE
 * - `rows`: COM_STMT_FETCH
 * - `definitions`: COM_FIELD_LIST
 * - `text`: COM_STATISTICS
 */
export type ReplyKind = 'results' | 'query' | 'cursor' | 'prepare' | 'rows' | 'definitions' | 'text';

type State =
  | 'first'
  | 'parameters'
  | 'parameters-end'
  | 'columns'
  | 'columns-end'
  | 'rows'
  | 'definitions'
  | 'text'
  | 'done';

export type ReplyEvent =
  | { readonly kind: 'ok'; readonly ok: OkPacket }
  | { readonly kind: 'eof'; readonly status: number }
  | { readonly kind: 'err'; readonly err: ErrPacket }
  | { readonly kind: 'head' }
  | { readonly kind: 'prepared'; readonly prepared: PrepareOk }
  /** The server wants the content of a file now. */
  | { readonly kind: 'infile' };

const HEAD: ReplyEvent = { kind: 'head' };
const INFILE: ReplyEvent = { kind: 'infile' };

export class Reply {
  readonly kind: ReplyKind;
  /** That have passed. */
  rows = 0;
  /** A result set was in it. */
  hadRows = false;
  readonly #capabilities: Capabilities;
  readonly #deprecateEof: boolean;
  #state: State;
  /** Definitions to come in this state. */
  #left = 0;
  #columnsAfterParameters = 0;
  /** The row is that of OUT parameters: the OK of the CALL follows, though MySQL's EOF behind it does not say so. */
  #isOutParameters = false;

  constructor(kind: ReplyKind, capabilities: Capabilities) {
    this.kind = kind;
    this.#capabilities = capabilities;
    this.#deprecateEof = hasCapability(capabilities, CAPABILITY.DEPRECATE_EOF);
    this.#state = kind === 'rows' || kind === 'definitions' || kind === 'text' ? kind : 'first';
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** What comes is a row, if it is not the end. */
  get isAtRows(): boolean {
    return this.#state === 'rows';
  }

  /** Nothing but OKs so far: an error now is the first thing that the client would see of this result. */
  get isAtFirst(): boolean {
    return this.#state === 'first' || (this.#state !== 'done' && this.#state === this.kind);
  }

  /** Whether the packet must be given to `see`; if not, call `passed` when it goes on. */
  wants(firstByte: number, length: number): boolean {
    switch (this.#state) {
      case 'parameters':
      case 'columns':
        return firstByte === ERR_BYTE;
      case 'rows':
        return firstByte === ERR_BYTE || endsResultSet(firstByte, length, this.#deprecateEof);
      case 'definitions':
        return firstByte === ERR_BYTE || endsResultSet(firstByte, length, this.#deprecateEof);
      default:
        return true;
    }
  }

  /** A definition or a row went by. */
  passed(): void {
    if (this.#state === 'rows') this.rows++;
    if (this.#state !== 'parameters' && this.#state !== 'columns') return;
    this.#left--;
    if (this.#left === 0) this.#endDefinitions();
  }

  /**
   * The same packet where it lies whole in `bytes`, if it is one of those that most replies consist of and goes on as it is: answers
   * the status flags behind it. -1: it is not, and `see` has to take it apart. `status`: the flags before it.
   */
  glance(bytes: Buffer, at: number, length: number, status: number): number {
    const first = bytes[at]!;
    switch (this.#state) {
      case 'first':
        // The number of columns, and no flag about their definitions.
        if (length !== 1 || first === OK_BYTE || first >= LOCAL_INFILE_BYTE || this.kind === 'prepare')
          return -1;
        this.hadRows = true;
        this.#startColumns(first);
        return status;
      case 'columns-end': {
        if (length !== 5 || first !== EOF_BYTE || this.kind === 'prepare') return -1;
        const flags = bytes[at + 3]! | (bytes[at + 4]! << 8);
        if (this.kind === 'cursor' || (flags & (STATUS.PS_OUT_PARAMS | STATUS.SESSION_STATE_CHANGED)) !== 0)
          return -1;
        this.#state = 'rows';
        return flags;
      }
      case 'rows': {
        if (length !== (this.#deprecateEof ? 7 : 5) || first !== EOF_BYTE) return -1;
        const flags = bytes[at + 3]! | (bytes[at + 4]! << 8);
        // An OK with counts, or about the session.
        if (this.#deprecateEof && (bytes[at + 1] !== 0 || bytes[at + 2] !== 0)) return -1;
        if ((flags & STATUS.SESSION_STATE_CHANGED) !== 0) return -1;
        this.#endResult(flags);
        return flags;
      }
      default:
        return -1;
    }
  }

  /** A whole packet that `wants` asked for. Throws ProxyError. */
  see(payload: Buffer): ReplyEvent {
    const first = payload[0] ?? -1;
    if (first === ERR_BYTE && this.#state !== 'text') {
      this.#state = 'done';
      return { kind: 'err', err: parseErr(payload) };
    }
    switch (this.#state) {
      case 'first':
        return this.kind === 'prepare' ? this.#prepared(payload, first) : this.#first(payload, first);
      case 'parameters-end':
        parseEof(payload);
        this.#startColumns(this.#columnsAfterParameters);
        return HEAD;
      case 'columns-end': {
        const { status } = parseEof(payload);
        this.#isOutParameters = (status & STATUS.PS_OUT_PARAMS) !== 0;
        // The flag may also tell of a cursor of a procedure's own, in front of rows.
        if (this.kind === 'prepare') this.#state = 'done';
        else if (this.kind === 'cursor' && (status & STATUS.CURSOR_EXISTS) !== 0) this.#endResult(status);
        else this.#state = 'rows';
        return { kind: 'eof', status };
      }
      case 'rows':
        // MySQL ends with a bare EOF, whatever was agreed on, where a handler of a procedure takes an error in the middle of rows.
        if (this.#deprecateEof && payload.length >= 7) return this.#ok(payload);
        return this.#eof(payload);
      case 'definitions':
        // An OK, which may tell of the session.
        if (this.#deprecateEof && payload.length >= 7) return this.#ok(payload);
        this.#state = 'done';
        return HEAD;
      case 'text':
        this.#state = 'done';
        if (first === ERR_BYTE) return { kind: 'err', err: parseErr(payload) };
        return HEAD;
      default:
        throw new ProxyError('protocol-violation', {
          detail: `packet of type ${first} while ${this.#state}`,
        });
    }
  }

  #first(payload: Buffer, first: number): ReplyEvent {
    if (first === OK_BYTE && payload.length >= 7) return this.#ok(payload);
    if (first === LOCAL_INFILE_BYTE && (this.kind === 'query' || this.kind === 'cursor')) return INFILE;
    // COM_SET_OPTION and COM_DEBUG are answered by an EOF.
    if (endsResultSet(first, payload.length, this.#deprecateEof))
      return this.#deprecateEof && payload.length >= 7 ? this.#ok(payload) : this.#eof(payload);
    const { columns, metadata } = parseResultSetHead(payload, this.#capabilities);
    if (columns === 0) throw new ProxyError('protocol-violation', { detail: 'a result set without columns' });
    this.hadRows = true;
    this.#startColumns(metadata ? columns : 0);
    return HEAD;
  }

  #prepared(payload: Buffer, first: number): ReplyEvent {
    if (first !== OK_BYTE)
      throw new ProxyError('protocol-violation', { detail: `packet of type ${first} for a preparation` });
    if (payload.length < PREPARE_OK_BYTES) {
      // MySQL answers SET GLOBAL so where the user may not: nothing has been prepared, and its status flags are none.
      this.#state = 'done';
      return HEAD;
    }
    const prepared = parsePrepareOk(payload, this.#capabilities);
    const { parameters, columns, metadata } = prepared;
    this.#columnsAfterParameters = metadata ? columns : 0;
    if (metadata && parameters > 0) {
      this.#state = 'parameters';
      this.#left = parameters;
    } else this.#startColumns(this.#columnsAfterParameters);
    return { kind: 'prepared', prepared };
  }

  #startColumns(count: number): void {
    this.#state = 'columns';
    this.#left = count;
    if (count > 0) return;
    if (this.kind === 'prepare') this.#state = 'done';
    else this.#endDefinitions();
  }

  #endDefinitions(): void {
    if (this.#state === 'parameters') {
      if (this.#deprecateEof) this.#startColumns(this.#columnsAfterParameters);
      else this.#state = 'parameters-end';
    } else if (!this.#deprecateEof) this.#state = 'columns-end';
    else this.#state = this.kind === 'prepare' ? 'done' : 'rows';
  }

  #ok(payload: Buffer): ReplyEvent {
    const ok = parseOk(payload, this.#capabilities);
    this.#endResult(ok.status);
    return { kind: 'ok', ok };
  }

  #eof(payload: Buffer): ReplyEvent {
    const { status } = parseEof(payload);
    this.#endResult(status);
    return { kind: 'eof', status };
  }

  #endResult(status: number): void {
    const hasMore = (status & STATUS.MORE_RESULTS) !== 0 || this.#isOutParameters;
    this.#isOutParameters = false;
    this.#state = hasMore ? 'first' : 'done';
  }
}
