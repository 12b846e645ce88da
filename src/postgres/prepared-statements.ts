// Prepared statements as text: one object for each distinct (text, parameter types), whoever prepares it under whatever name.
// It knows no connection; server connections remember which of these objects they hold.

import { ProxyError } from '../lib/errors.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { Classified, StatementClass } from '../sql/statement.js';
import { AutoPreparedOnServer, HeldText } from './auto-prepared.js';
import { ClientPortals } from './client-portals.js';
import { commandComplete, readyForQuery } from './wire/backend-messages.js';

/** Behind this prefix server connections hold the clients' named statements. */
export const SERVER_NAME_PREFIX = 'scheelite_';

export interface PreparedText {
  /** The name it has on every server connection that holds it; "" for an unnamed one. */
  readonly serverName: string;
  /** The body of its Parse message behind the name: text, zero byte, parameter types. */
  readonly body: Buffer;
  /** The text alone, once somebody has asked. */
  sql?: Buffer;
  /** What a client has been told of its parameters (count and types, as in Parse): it stays with that wherever it runs. */
  types?: Buffer;
  /** The schema may have changed so that a new Parse would make something else of it: who has it keeps it, nobody else gets it. */
  isOutdated?: boolean;
  /** What clients have been told of its rows (`rowsOf`): they may not ask again. */
  rows?: string;
  /** The same change may have made these others. */
  isUnsure?: boolean;
  /** Of one Parse of the unnamed statement: what is shared of its text. */
  readonly recurring?: PreparedText;
}

/** The client, as who knows what its texts are. */
export interface TextReader {
  /** `recurs`: the same bytes are likely to come again. */
  classify(sql: Buffer, recurs?: boolean): Classified;
  /** The text of a Parse. Copies what it keeps: a few bytes must not keep the whole chunk alive. */
  intern(name: string, body: Buffer): PreparedText;
}

/** The statement's bytes; what it is depends on catalog and settings of the moment, so it is classified at each use. */
export function sqlOf(text: PreparedText): Buffer {
  text.sql ??= text.body.subarray(0, text.body.indexOf(0));
  return text.sql;
}

/**
 * The unnamed statement as one Parse has made it: what another one of the same text makes, of another client or behind a change of
 * the schema, may have other parameters and rows.
 */
export function ownUnnamed(text: PreparedText): PreparedText {
  const recurring = text.recurring ?? text;
  return { serverName: '', body: recurring.body, sql: sqlOf(recurring), recurring };
}

/** Errors name it as the client does; null: alike. */
export function aliasOf(
  { serverName }: PreparedText,
  client: string,
): { readonly server: string; readonly client: string } | null {
  return serverName === '' ? null : { server: serverName, client };
}

/** `types`: in place of those that it came with. */
export function parseOf(
  { serverName, body }: PreparedText,
  as = serverName,
  types: Buffer | null = null,
): Buffer {
  const name = Buffer.from(as, 'latin1');
  const text = types === null ? body : body.subarray(0, body.indexOf(0) + 1);
  const typeBytes = types === null ? 0 : types.length;
  const message = Buffer.allocUnsafe(5 + name.length + 1 + text.length + typeBytes);
  message[0] = 0x50;
  message.writeInt32BE(message.length - 1, 1);
  name.copy(message, 5);
  message[5 + name.length] = 0;
  text.copy(message, 6 + name.length);
  types?.copy(message, 6 + name.length + text.length);
  return message;
}

const MAX_TEXTS = 10_000;
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/** Interns named statements; what falls out of the bounds is only shared less. */
export class PreparedTexts {
  readonly #byBody = new Map<string, PreparedText>();
  #bytes = 0;
  #next = 1;

  /** `body`: text, zero byte, types; copied when it is new. `settings`: what else its meaning depends on. */
  intern(body: Buffer, settings: string): PreparedText {
    const key = `${settings}\0${body.toString('latin1')}`;
    const known = this.#byBody.get(key);
    if (known !== undefined) {
      this.#byBody.delete(key);
      if (known.isOutdated !== true) {
        this.#byBody.set(key, known);
        return known;
      }
      this.#bytes -= key.length + known.body.length;
    }
    const text: PreparedText = {
      serverName: `${SERVER_NAME_PREFIX}${this.#next++}`,
      body: Buffer.from(body),
    };
    this.#byBody.set(key, text);
    this.#bytes += key.length + body.length;
    while (this.#byBody.size > MAX_TEXTS || (this.#bytes > MAX_TEXT_BYTES && this.#byBody.size > 1)) {
      const [oldest, { body: gone }] = this.#byBody.entries().next().value!;
      this.#byBody.delete(oldest);
      this.#bytes -= oldest.length + gone.length;
    }
    return text;
  }

  /** A Parse of this moment may give parameters and results other types than the one before. */
  schemaChanged(): void {
    for (const text of this.#byBody.values()) outdate(text);
  }
}

/** Who has it keeps it, as long as its rows stay what they were. */
export function outdate(text: PreparedText): void {
  text.isOutdated = true;
  text.isUnsure = text.rows !== undefined;
}

/** What one server connection holds; the least recently used falls out. */
export class PreparedOnServer {
  /** They have a bound of their own: no number of recurring texts pushes out what clients have prepared. */
  readonly auto = new AutoPreparedOnServer();
  readonly #held = new Set<PreparedText>();
  /** Of those: the answer to the Parse has not come; by what has sent it. */
  readonly #coming = new Map<PreparedText, unknown>();
  readonly #maxHeld: number;

  constructor(maxHeld = 500) {
    this.#maxHeld = maxHeld;
  }

  has(text: PreparedText): boolean {
    if (!this.#held.delete(text)) return false;
    this.#held.add(text);
    return true;
  }

  /** Somebody else's Parse of it is under way, and may fail. */
  isDoubtful(text: PreparedText, by: unknown): boolean {
    if (this.#coming.size === 0) return false;
    const sender = this.#coming.get(text);
    return sender !== undefined && sender !== by;
  }

  /** Its Parse has been answered. */
  came(text: PreparedText): void {
    if (this.#coming.size > 0) this.#coming.delete(text);
  }

  /** Answers one that has to be closed on the server to keep the bound, or null. `by`: whose Parse it is; null: it is there. */
  add(text: PreparedText, by: unknown = null): PreparedText | null {
    this.#held.add(text);
    if (by !== null) this.#coming.set(text, by);
    if (this.#held.size <= this.#maxHeld) return null;
    const oldest = this.#held.values().next().value!;
    this.#held.delete(oldest);
    this.#coming.delete(oldest);
    return oldest;
  }

  /** Its Close has been skipped: it is still there. */
  notClosed(text: PreparedText): void {
    if (text instanceof HeldText) this.auto.notClosed(text);
    else this.#held.add(text);
  }

  delete(text: PreparedText): void {
    if (text instanceof HeldText) this.auto.delete(text);
    else {
      this.#held.delete(text);
      this.#coming.delete(text);
    }
  }

  /** The server says so. False: it is none of ours. */
  lacks(text: PreparedText | null): boolean {
    if (text === null) return false;
    this.delete(text);
    return true;
  }

  clear(): void {
    this.#held.clear();
    this.#coming.clear();
    this.auto.clear();
  }
}

/** A name in a text, as names are kept: byte by byte. */
export function bytewise(name: string): string {
  return Buffer.from(name).toString('latin1');
}

/** What the names of a client will be, if all that it has sent goes well. */
export class NamesAhead {
  readonly #now: Pick<ClientStatements, 'get'>;
  /** Null: taken away; undefined: as it is. */
  #unnamed: PreparedText | null | undefined;
  /** The same for names; most batches have none. */
  #named: Map<string, PreparedText | null> | null = null;
  #isBare = false;

  constructor(now: Pick<ClientStatements, 'get'>) {
    this.#now = now;
  }

  get(name: string): PreparedText | undefined {
    const text = name === '' ? this.#unnamed : this.#named?.get(name);
    if (text !== undefined) return text ?? undefined;
    return this.#isBare && name !== '' ? undefined : this.#now.get(name);
  }

  set(name: string, text: PreparedText | null): void {
    if (name === '') {
      this.#unnamed = text;
      return;
    }
    this.#named ??= new Map();
    this.#named.set(name, text);
  }

  /** Null: all but the unnamed one. */
  takeAway(name: string | null): void {
    if (name !== null) {
      this.set(name, null);
      return;
    }
    this.#isBare = true;
    this.#named = null;
  }
}

const MAX_STATEMENTS = 10_000;
const MAX_STATEMENT_BYTES = 64 * 1024 * 1024;

/** The prepared statements of one client by its own names; "" is the unnamed one. */
export class ClientStatements {
  /** Another one with each unit of most drivers. */
  #unnamed: PreparedText | undefined;
  /** Those with a name; null: none yet; many clients never have any. */
  #byName: Map<string, PreparedText> | null = null;
  /** Null: none yet. */
  #portals: ClientPortals | null = null;
  readonly #client: { terminate(error: ProxyError): void };
  #bytes = 0;

  /** `client`: ended if it has too many. */
  constructor(client: { terminate(error: ProxyError): void }) {
    this.#client = client;
  }

  get portals(): ClientPortals {
    this.#portals ??= new ClientPortals();
    return this.#portals;
  }

  /** Their transaction is over. */
  endPortals(): void {
    this.#portals?.end();
  }

  get(name: string): PreparedText | undefined {
    return name === '' ? this.#unnamed : this.#byName?.get(name);
  }

  set(name: string, text: PreparedText): void {
    if (name === '') {
      this.#unnamed = text;
      return;
    }
    this.delete(name);
    this.#byName ??= new Map();
    this.#byName.set(name, text);
    this.#bytes += text.body.length;
    const alone = this.#byName.size === 1;
    if (this.#byName.size > MAX_STATEMENTS || (this.#bytes > MAX_STATEMENT_BYTES && !alone))
      this.#client.terminate(new ProxyError('too-many-prepared-statements', { limit: MAX_STATEMENTS }));
  }

  delete(name: string): boolean {
    if (name === '') {
      const had = this.#unnamed !== undefined;
      this.#unnamed = undefined;
      return had;
    }
    if (this.#byName === null) return false;
    this.#bytes -= this.#byName.get(name)?.body.length ?? 0;
    return this.#byName.delete(name);
  }

  /** True: the text is DEALLOCATE of one of them, which is gone now. */
  deallocate({ prepared }: StatementClass): boolean {
    if (prepared?.kind !== 'deallocate' || prepared.name === null) return false;
    // Names are kept byte by byte.
    return this.delete(bytewise(prepared.name));
  }

  /** To a Query; null: it is none about them. */
  answer({ statement }: Classified, status: TransactionStatus): Buffer[] | null {
    if (status === 'failed' || !this.deallocate(statement)) return null;
    return [commandComplete('DEALLOCATE'), readyForQuery(status)];
  }

  /** The unnamed one stays. */
  clearNamed(): void {
    this.#byName = null;
    this.#bytes = 0;
  }
}
