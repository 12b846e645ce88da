// What a server connection expects of the node, and how a reply is told to be what was expected.
// It holds no socket; the server connection keeps the queue of these.

import type { ServerError } from '../protocol/unit.js';
import { type GateQuery, passes } from './gate.js';
import type { PreparedOnServer, PreparedText } from './prepared-statements.js';
import type { Run, Step } from './run.js';
import { BACKEND } from './wire/backend.js';
import { BIND_COMPLETE, CLOSE_COMPLETE, PARSE_COMPLETE } from './wire/backend-messages.js';

/** Tags of what takes all named statements away. */
const DISCARD_ALL = 'DISCARD ALL';
const DEALLOCATES: ReadonlySet<string> = new Set(['DEALLOCATE ALL', DISCARD_ALL]);

const NOTHING: Buffer[] = [];

export interface RowReader {
  row(buffer: Buffer, start: number, end: number): void;
}

/** A run, or a statement of our own, whose final ReadyForQuery has not come. */
export class Expectation {
  /** Null: our own, nothing of it reaches a client. */
  readonly run: Run | null;
  /** Our own: called with its error, if it had one. */
  readonly ownDone: ((error: ServerError | null) => void) | null;
  /** Our own, where its row is read. */
  readonly reader: RowReader | null;
  /** What the client has been told of parameters, by whatever server connection, is what holds here. */
  hasTold = false;
  /** Its client is gone, or runs it elsewhere: what is answered keeps our books only. */
  muted = false;
  /** Forwarded so far. */
  replyBytes = 0;
  /** The reply to the BEGIN that was put in front has not come. */
  beginPending: boolean;
  /** Sent or changed, by the tags. */
  rows = 0;
  /** DataRows since the last of them: a suspended portal has none. */
  untaggedRows = 0;
  /** Next step of `run.steps`. */
  step = 0;
  /** After an error the server skips everything up to Sync. */
  failed = false;
  error: ServerError | null = null;
  /** `again`: it runs again here, without what the proxy has prepared for it. */
  withheld: 'elsewhere' | 'primary' | 'again' | null = null;
  /** Statements whose plans no longer fit. */
  stale: readonly PreparedText[] | null = null;
  /** Something behind the headers has been forwarded: rows, a result, an error. */
  committed = false;
  /** Anything at all has been forwarded. */
  forwarded = false;
  /** Others of its transaction, which ends with one Sync behind the last of them, have been sent with it. */
  grouped: boolean;
  /** Of those: its answer, which waits for the group's end. */
  kept: Buffer[] = NOTHING;
  /** The last forwarded slice ends inside a message. */
  cut = false;
  tag = '';

  constructor(
    run: Run | null,
    ownDone: ((error: ServerError | null) => void) | null,
    reader: RowReader | null = null,
    grouped = false,
  ) {
    this.reader = reader;
    this.grouped = grouped;
    this.run = run;
    this.ownDone = ownDone;
    this.beginPending = run !== null && run.beginLength > 0;
  }

  /** CommandComplete. `prepared`: on its server connection. */
  complete(tag: string, prepared: PreparedOnServer): void {
    this.tag = tag;
    if (DEALLOCATES.has(tag)) this.#deallocate(prepared);
    this.rows += rowsOfTag(tag);
    this.untaggedRows = 0;
  }

  /** What the run parses behind it is there. */
  #deallocate(prepared: PreparedOnServer): void {
    prepared.clear();
    for (const { kind, verb, text } of this.run?.steps?.slice(this.step) ?? [])
      if (kind === 'parse' && verb !== 'fake' && text !== null && text.serverName !== '') prepared.add(text);
    if (!this.muted) this.run?.sink.events.deallocated(this.tag === DISCARD_ALL);
  }

  /** PortalSuspended: more rows of the same statement come with the next Execute. */
  suspend(): void {
    this.rows += this.untaggedRows;
    this.untaggedRows = 0;
  }

  /** The query before it has been answered: null where this goes on, else the run that does not. */
  refuse(query: GateQuery): Run | null {
    const { run } = this;
    if (run === null || run.gate?.query !== query || this.muted || passes(run.gate)) return null;
    this.muted = true;
    return run;
  }

  /** A read of which nothing has been answered: it may run elsewhere. */
  get canMove(): boolean {
    return this.run?.withhold === true && !this.muted && !this.forwarded && !this.failed;
  }
}

/** "SELECT 5", "INSERT 0 3", "COPY 7": the last number; 0 where there is none ("BEGIN"). */
export function rowsOfTag(tag: string): number {
  let rows = 0;
  let scale = 1;
  for (let i = tag.length - 1; i >= 0; i--) {
    const digit = tag.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) break;
    rows += digit * scale;
    scale *= 10;
  }
  return rows;
}

/** Every reply has come, but for those that the proxy gives by itself, and ReadyForQuery. */
export function isThrough({ run, step: at }: Expectation): boolean {
  const steps = run?.steps ?? [];
  for (let i = at; i < steps.length; i++) if (steps[i]!.verb !== 'fake') return false;
  return true;
}

/** Named statements that the run binds. */
export function boundTexts(run: Run): PreparedText[] {
  const texts: PreparedText[] = [];
  for (const { kind, text } of run.steps ?? [])
    if (kind === 'bind' && text !== null && text.serverName !== '') texts.push(text);
  return texts;
}

export const FAKES: Partial<Record<Step['kind'], Buffer>> = {
  parse: PARSE_COMPLETE,
  bind: BIND_COMPLETE,
  close: CLOSE_COMPLETE,
};

/** Replies that say nothing about rows: an error behind them can still be kept back. */
export function isHeader(type: number): boolean {
  return (
    type === BACKEND.parseComplete ||
    type === BACKEND.bindComplete ||
    type === BACKEND.closeComplete ||
    type === BACKEND.parameterDescription ||
    type === BACKEND.rowDescription ||
    type === BACKEND.copyOutResponse ||
    type === BACKEND.noData
  );
}

export function completes(kind: Step['kind'], type: number): boolean {
  switch (kind) {
    case 'parse':
      return type === BACKEND.parseComplete;
    case 'bind':
      return type === BACKEND.bindComplete;
    case 'close':
      return type === BACKEND.closeComplete;
    case 'describe-statement':
    case 'describe-portal':
      return type === BACKEND.rowDescription || type === BACKEND.noData;
    case 'execute':
      return (
        type === BACKEND.commandComplete ||
        type === BACKEND.emptyQueryResponse ||
        type === BACKEND.portalSuspended
      );
  }
}
