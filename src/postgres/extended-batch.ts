// An extended batch: the client's Parse, Bind, Describe, Execute and Close up to Sync, kept until it is known where it runs,
// then written for that server connection with the names it has there.
// It opens no socket; what is written and what is expected come out together.

import { copyOf } from '../lib/chunk-copies.js';
import { ProxyError } from '../lib/errors.js';
import { type Classified, endsTransaction } from '../sql/statement.js';
import type { AutoPrepareSession } from './auto-prepare-session.js';
import type { HeldText } from './auto-prepared.js';
import {
  askNothing,
  closeUnnamed,
  EXECUTED,
  KNOWN_ALREADY,
  PORTAL_DESCRIBED,
  parseAuto,
  step,
  type Written,
  writeAutoBind,
} from './batch-steps.js';
import type { ClientStatements, PreparedText, TextReader } from './prepared-statements.js';
import {
  aliasOf,
  bytewise,
  NamesAhead,
  ownUnnamed,
  parseOf,
  SERVER_NAME_PREFIX,
  sqlOf,
} from './prepared-statements.js';
import type { Step } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';
import { type Unsure, withBound, withoutDescribed } from './unsure-rows.js';
import {
  type BindFields,
  buildClose,
  buildDescribe,
  buildParse,
  type DescribeFields,
  EXECUTE_UNNAMED,
  FRONTEND,
  parseBind,
  parseClose,
  parseDescribe,
  parseParse,
  portalOf,
  renameBind,
  SYNC,
} from './wire/frontend.js';

/** Messages as they came, with what was read of them. The bytes stand alone: they may be sent more than once. */
export type BatchMessage =
  | { readonly kind: 'parse'; readonly name: string; readonly text: PreparedText }
  | { readonly kind: 'bind'; readonly fields: BindFields; readonly bytes: Buffer }
  | { readonly kind: 'describe' | 'close'; readonly fields: DescribeFields; readonly bytes: Buffer }
  | { readonly kind: 'execute'; readonly bytes: Buffer }
  /** CopyData, CopyDone, CopyFail: for a COPY FROM that the batch begins. */
  | { readonly kind: 'copy'; readonly isEnd: boolean; readonly bytes: Buffer }
  | { readonly kind: 'sync' | 'flush'; readonly bytes: Buffer };

interface Deallocated {
  /** The client's. */
  readonly name: string;
  readonly text: PreparedText;
}

/** A client's name that the proxy does not know must not name somebody else's statement. */
function foreignName(name: string): string {
  return name.startsWith(SERVER_NAME_PREFIX) ? `unknown ${name}` : name;
}

/** As nearly every driver sends them: one object for all. */
const DESCRIBE_PORTAL = {
  kind: 'describe',
  fields: { kind: 'portal', name: '' },
  bytes: buildDescribe('portal', ''),
} satisfies BatchMessage;
const EXECUTE = { kind: 'execute', bytes: EXECUTE_UNNAMED } satisfies BatchMessage;
export const SYNC_MESSAGE: BatchMessage = { kind: 'sync', bytes: SYNC };

/** What a message costs beside its own bytes: a flood of tiny ones is bounded by this. */
const OBJECT_BYTES = 256;

/** The fields of one message of a batch. */
export function readExtended(
  type: number,
  buffer: Buffer,
  start: number,
  end: number,
  texts: TextReader,
): BatchMessage {
  if (type === FRONTEND.parse) {
    const { name, textStart } = parseParse(buffer, start, end);
    return { kind: 'parse', name, text: texts.intern(name, buffer.subarray(textStart, end)) };
  }
  if (type === FRONTEND.describe && isSame(buffer, start, end, DESCRIBE_PORTAL.bytes)) return DESCRIBE_PORTAL;
  if (type === FRONTEND.execute && isSame(buffer, start, end, EXECUTE.bytes)) return EXECUTE;
  const bytes = buffer.subarray(start, end);
  switch (type) {
    case FRONTEND.bind:
      return { kind: 'bind', fields: parseBind(bytes, 0, bytes.length), bytes };
    case FRONTEND.describe:
      return { kind: 'describe', fields: parseDescribe(bytes, 0, bytes.length), bytes };
    case FRONTEND.close:
      // Drivers send it without a Sync, in front of what comes next, whenever that may be.
      return {
        ...{ kind: 'close', fields: parseClose(bytes, 0, bytes.length) },
        bytes: copyOf(bytes),
      };
    case FRONTEND.copyData:
    case FRONTEND.copyDone:
    case FRONTEND.copyFail:
      return { kind: 'copy', isEnd: type !== FRONTEND.copyData, bytes };
    default:
      return { kind: 'execute', bytes };
  }
}

function isSame(buffer: Buffer, start: number, end: number, message: Buffer): boolean {
  if (end - start !== message.length) return false;
  for (let i = 0; i < message.length; i++) if (buffer[start + i] !== message[i]) return false;
  return true;
}

const NOTHING: readonly Classified[] = [];

/** The list itself, but for the first: most have one, and a list that grows takes room for seventeen. */
function withOneMore(list: readonly Classified[], one: Classified): readonly Classified[] {
  if (list.length === 0) return [one];
  (list as Classified[]).push(one);
  return list;
}

export class ExtendedBatch {
  readonly messages: BatchMessage[] = [];
  /** The statements that it parses, binds or describes. */
  classified: readonly Classified[] = NOTHING;
  /** Those that it executes: bound here, or in a unit before. */
  executed: readonly Classified[] = NOTHING;
  bytes = 0;
  /** Every portal that it uses is the unnamed one, bound by itself before; and there is one. */
  bindsWhatItRuns = false;
  unsure: Unsure = null;
  #usesOthers = false;
  /** What the client's names will be if all goes well: within the batch a Bind finds what a Parse before it names. */
  readonly #names: NamesAhead;
  readonly #clientNames: ClientStatements;
  readonly #texts: TextReader;
  readonly #maxBytes: number;
  /** Parse, Describe and Bind of one text, one after the other, are one statement. */
  #noted: PreparedText | null = null;
  /** DEALLOCATE of one statement, and the client's name in it, byte by byte; null: there is none. */
  #deallocates: Map<PreparedText, string> | null = null;
  /** The client's names that it takes away, by the message; null: all. */
  #deallocatedAt: Map<number, string | null> | null = null;
  /** What was written last ended there, and the names were then so: with many Flushes they are not gathered anew for each. */
  #writtenUpTo = 0;
  #namesWritten: NamesAhead | null = null;
  /** The client's names as they were before replies to this batch changed them, latest last. */
  readonly #changed: { readonly name: string; readonly before: PreparedText | undefined }[] = [];

  /** `maxBytes`: what it may hold; `add` throws ProxyError beyond. */
  constructor(clientNames: ClientStatements, texts: TextReader, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#clientNames = clientNames;
    this.#names = new NamesAhead(clientNames);
    this.#texts = texts;
  }

  add(message: BatchMessage): void {
    this.messages.push(message);
    this.bytes += (message.kind === 'parse' ? message.text.body : message.bytes).length + OBJECT_BYTES;
    if (this.bytes > this.#maxBytes)
      throw new ProxyError('message-too-large', { bytes: this.bytes, limit: this.#maxBytes });
    if (message.kind === 'parse') {
      this.#noted = null;
      this.#note(message.text);
      this.#names.set(message.name, message.text);
    } else if (message.kind === 'bind') {
      this.#usesOthers ||= message.fields.portal !== '';
      this.bindsWhatItRuns = !this.#usesOthers;
      const text = this.lookUp(message.fields.statement);
      const classified = text === undefined ? null : this.#note(text);
      if (text?.isUnsure === true && endsTransaction(classified!.statement)) text.isUnsure = false;
      if (this.unsure !== null || text?.isUnsure === true)
        this.unsure = withBound(this.unsure, text, message.fields, message.bytes);
      this.#clientNames.portals.bind(message.fields.portal, classified);
    } else if (message.kind === 'execute') {
      const portal = portalOf(message.bytes);
      this.#uses(portal);
      const classified = this.#clientNames.portals.get(portal);
      if (classified !== null) this.#execute(classified);
    } else if (message.kind === 'describe' && message.fields.kind === 'statement') {
      const text = this.lookUp(message.fields.name);
      if (text !== undefined) this.#note(text);
    } else if (message.kind === 'close' && message.fields.kind === 'statement') {
      this.#names.set(message.fields.name, null);
    } else if (message.kind === 'describe' || message.kind === 'close') this.#uses(message.fields.name);
    if (message.kind === 'describe' && this.unsure !== null) {
      const { kind, name } = message.fields;
      const text = kind === 'statement' ? this.lookUp(name) : null;
      if (text !== undefined) this.unsure = withoutDescribed(this.unsure, text, name);
    }
  }

  #uses(portal: string): void {
    if (portal === '' && this.bindsWhatItRuns) return;
    this.#usesOthers = true;
    this.bindsWhatItRuns = false;
  }

  #execute(classified: Classified): void {
    this.executed = withOneMore(this.executed, classified);
    const { prepared, session } = classified.statement;
    if (prepared === null && session.length === 0) return;
    const isAll = session.some((effect) => effect.kind === 'discard' && effect.what === 'all');
    if (!isAll && prepared?.kind !== 'deallocate') return;
    const name =
      isAll || prepared?.kind !== 'deallocate' || prepared.name === null ? null : bytewise(prepared.name);
    this.#names.takeAway(name);
    this.#deallocatedAt ??= new Map();
    this.#deallocatedAt.set(this.messages.length - 1, name);
  }

  #note(text: PreparedText): Classified {
    if (this.#noted === text) return this.classified.at(-1)!;
    this.#noted = text;
    const classified = this.#texts.classify(sqlOf(text), true);
    this.classified = withOneMore(this.classified, classified);
    const { prepared } = classified.statement;
    if (prepared?.kind === 'deallocate' && prepared.name !== null) {
      this.#deallocates ??= new Map();
      this.#deallocates.set(text, bytewise(prepared.name));
    }
    return classified;
  }

  /** The data of its COPY FROM are in it, to their end. */
  get hasCopied(): boolean {
    return this.messages.some((message) => message.kind === 'copy' && message.isEnd);
  }

  /** The statement behind a client's name at this place of the batch. */
  lookUp(name: string): PreparedText | undefined {
    return this.#names.get(name);
  }

  /**
   * Writes `messages` from index `from` on for this server connection. Statements that it lacks are parsed first. `auto`:
   * recurring unnamed statements run as named ones.
   */
  writeFor(server: PostgresServerConnection, from = 0, auto: AutoPrepareSession | null = null): Written {
    const out: Written = { messages: [], steps: [] };
    /** What the unnamed statement runs as; undefined: nothing in this batch has asked. */
    let unnamedAs: HeldText | null | undefined;
    if (from === 0) this.#undo();
    // A unit under way may fail before its Parse: what the unnamed statement is by then cannot be known.
    if (from === 0 && server.depth > 0) server.unnamed = null;
    const names = from > 0 && from === this.#writtenUpTo ? this.#namesWritten! : this.#namesBefore(from);
    this.#namesWritten = names;
    this.#writtenUpTo = this.messages.length;
    /** Portals of a DEALLOCATE of one statement, by the statement; null: there is none. */
    const deallocating = this.#deallocates === null ? null : new Map<string, Deallocated>();
    for (let i = from; i < this.messages.length; i++) {
      let message = this.messages[i]!;
      switch (message.kind) {
        case 'parse':
          if (message.name === '') unnamedAs = this.#take(auto, message.text, i);
          if (this.#writeDeallocate(server, message, names, out)) {
            // The server knows the statement under another name.
          } else if (message.name === '' && unnamedAs != null)
            this.#writeAutoParse(auto!, message, unnamedAs, names, out);
          else {
            if (message.name === '') message = { ...message, text: ownUnnamed(message.text) };
            this.messages[i] = message;
            this.#writeParse(server, message, names.get(message.name), out);
          }
          names.set(message.name, message.text);
          break;
        case 'bind': {
          const text = names.get(message.fields.statement);
          if (deallocating !== null) {
            const deallocated = this.#deallocated(text, names);
            if (deallocated === null) deallocating.delete(message.fields.portal);
            else deallocating.set(message.fields.portal, deallocated);
          }
          if (auto !== null && message.fields.statement === '' && text !== undefined) {
            if (unnamedAs === undefined) {
              unnamedAs = this.#take(auto, text, i - 1);
              if (unnamedAs !== null && !auto.isHit) parseAuto(auto, unnamedAs, out, 'drop', null);
            }
            if (unnamedAs !== null) {
              writeAutoBind(auto, message, unnamedAs, out);
              break;
            }
          }
          if (text === undefined) this.#writeForeignBind(server, message, out);
          else this.#writeBind(server, message, text, out);
          break;
        }
        case 'describe':
          this.#writeDescribe(server, message, names.get(message.fields.name), out);
          break;
        case 'close':
          this.#writeClose(message, names.get(message.fields.name), out);
          if (message.fields.kind === 'statement') names.set(message.fields.name, null);
          if (message.fields.kind === 'statement' && message.fields.name === '') server.unnamed = null;
          break;
        case 'execute':
          out.messages.push(message.bytes);
          out.steps.push(this.#executeStep(server, message.bytes, deallocating));
          if (this.#deallocatedAt?.has(i) === true) names.takeAway(this.#deallocatedAt.get(i)!);
          auto?.executed();
          break;
        case 'flush':
          // What the client waits for now is ours to say, and said when the server answers what comes behind it.
          if (out.steps.at(-1)?.verb === 'fake') askNothing(out);
          out.messages.push(message.bytes);
          break;
        default:
          out.messages.push(message.bytes);
      }
    }
    return out;
  }

  /** The client's statement that this DEALLOCATE names, as far as it is one of the protocol's; null: none. */
  #deallocated(text: PreparedText | undefined, names: NamesAhead): Deallocated | null {
    const name = text === undefined ? undefined : this.#deallocates?.get(text);
    if (name === undefined) return null;
    const named = names.get(name);
    return named === undefined ? null : { name, text: named };
  }

  /** True: it was one. It is written with the name that the statement has there. */
  #writeDeallocate(
    server: PostgresServerConnection,
    { name, text }: BatchMessage & { kind: 'parse' },
    names: NamesAhead,
    out: Written,
  ): boolean {
    const deallocated = name === '' ? this.#deallocated(text, names) : null;
    if (deallocated === null) return false;
    this.#ensure(server, deallocated.text, out);
    server.unnamed = text;
    out.messages.push(buildParse('', `DEALLOCATE ${deallocated.text.serverName}`));
    out.steps.push(this.#parseStep('', text, text));
    return true;
  }

  #executeStep(
    server: PostgresServerConnection,
    execute: Buffer,
    deallocating: ReadonlyMap<string, Deallocated> | null,
  ): Step {
    const gone = deallocating?.get(portalOf(execute));
    if (gone === undefined) return EXECUTED;
    server.prepared.delete(gone.text);
    return step('execute', 'forward', gone.text, () => this.#forget('statement', gone.name));
  }

  /** The unnamed statement is gone before the server looks at the one that takes its place. */
  #parseStep(name: string, text: PreparedText, held: PreparedText | null): Step {
    const completed = this.#naming(name, text);
    const failed = name === '' ? (): void => this.#forget('statement', '') : null;
    return { kind: 'parse', verb: 'forward', text: held, completed, alias: null, failed };
  }

  /** Names that messages before `from` have given or taken, whether or not their replies have come. */
  #namesBefore(from: number): NamesAhead {
    const names = new NamesAhead(this.#clientNames);
    for (let i = 0; i < from; i++) {
      const message = this.messages[i]!;
      if (message.kind === 'parse') names.set(message.name, message.text);
      else if (message.kind === 'close' && message.fields.kind === 'statement')
        names.set(message.fields.name, null);
      const deallocated = this.#deallocatedAt?.get(i);
      if (deallocated !== undefined) names.takeAway(deallocated);
    }
    return names;
  }

  /** It runs again from its beginning: what replies to its first run have named is not named yet. */
  #undo(): void {
    if (this.#changed.length === 0) return;
    for (const { name, before } of this.#changed.splice(0).reverse()) {
      if (before === undefined) this.#clientNames.delete(name);
      else this.#clientNames.set(name, before);
    }
  }

  #naming(name: string, text: PreparedText): () => void {
    return () => this.#setName(name, text);
  }

  #setName(name: string, text: PreparedText): void {
    const before = this.#clientNames.get(name);
    if (before === text) return;
    this.#changed.push({ name, before });
    this.#clientNames.set(name, text);
  }

  #writeParse(
    server: PostgresServerConnection,
    message: BatchMessage & { kind: 'parse' },
    known: PreparedText | undefined,
    out: Written,
  ): void {
    const { name, text } = message;
    if (name === '') {
      // Always sent: the server checks it anew, as it would without us.
      server.unnamed = text;
      out.messages.push(parseOf(text, ''));
      out.steps.push(this.#parseStep('', text, text));
      return;
    }
    const completed = (): void => this.#setName(name, text);
    const alias = aliasOf(known ?? text, name);
    if (known !== undefined) {
      // A name in use: the server says so (42P05), because it holds the statement under the name that we give it.
      this.#ensure(server, known, out, alias);
      // What is wrong with the text comes first.
      out.messages.push(parseOf(text, known.serverName));
      const lacked = (): void => server.close('it lacked a statement that it was believed to hold');
      out.steps.push({ ...step('parse', 'forward', null, lacked), alias });
      return;
    }
    if (server.transaction === 'failed') {
      // Most are refused there; so that they are, nothing is kept of it.
      server.unnamed = null;
      out.messages.push(parseOf(text, ''));
      out.steps.push(step('parse', 'forward', null, completed));
      return;
    }
    if (server.prepared.has(text) && !server.prepared.isDoubtful(text, this)) {
      out.steps.push(step('parse', 'fake', text, completed));
      return;
    }
    this.#hold(server, text, out);
    out.messages.push(parseOf(text));
    out.steps.push({ ...step('parse', 'forward', text, completed), alias });
  }

  /** Null: as it came. Described, or only parsed, it has to be what a Parse of this moment makes of it. */
  #take(auto: AutoPrepareSession | null, text: PreparedText, from: number): HeldText | null {
    if (auto === null) return null;
    let isBound = false;
    for (let i = from + 1; i < this.messages.length; i++) {
      const message = this.messages[i]!;
      if (message.kind === 'parse' && message.name === '') break;
      if (message.kind === 'bind' && message.fields.statement === '') isBound = true;
      const isOfStatement =
        (message.kind === 'describe' || message.kind === 'close') && message.fields.kind === 'statement';
      if (isOfStatement && message.fields.name === '') return null;
    }
    return isBound ? auto.take(text.recurring ?? text) : null;
  }

  #writeAutoParse(
    auto: AutoPrepareSession,
    { text }: BatchMessage & { kind: 'parse' },
    held: HeldText,
    names: NamesAhead,
    out: Written,
  ): void {
    if (!auto.isHit) {
      const { completed, failed } = this.#parseStep('', text, null);
      parseAuto(auto, held, out, 'forward', completed, failed);
    } else if (names.get('') === text) out.steps.push(KNOWN_ALREADY);
    else out.steps.push(step('parse', 'fake', null, this.#naming('', text)));
  }

  #writeBind(
    server: PostgresServerConnection,
    message: BatchMessage & { kind: 'bind' },
    text: PreparedText,
    out: Written,
  ): void {
    const alias = aliasOf(text, message.fields.statement);
    this.#ensure(server, text, out, alias);
    out.messages.push(
      text.serverName === message.fields.statement
        ? message.bytes
        : renameBind(message.bytes, 0, message.bytes.length, message.fields, text.serverName),
    );
    out.steps.push({ kind: 'bind', verb: 'forward', text, completed: null, alias, failed: null });
  }

  #writeForeignBind(
    server: PostgresServerConnection,
    message: BatchMessage & { kind: 'bind' },
    out: Written,
  ): void {
    const name = foreignName(message.fields.statement);
    if (name === '') closeUnnamed(server, out);
    out.messages.push(
      name === message.fields.statement
        ? message.bytes
        : renameBind(message.bytes, 0, message.bytes.length, message.fields, name),
    );
    out.steps.push(step('bind', 'forward', null));
  }

  #writeDescribe(
    server: PostgresServerConnection,
    message: BatchMessage & { kind: 'describe' | 'close' },
    text: PreparedText | undefined,
    out: Written,
  ): void {
    if (message.fields.kind === 'portal') {
      out.messages.push(message.bytes);
      const bound = out.steps.at(-1);
      const isNew = bound?.kind === 'bind' && bound.alias !== null && bound.text?.rows === undefined;
      out.steps.push(isNew ? { ...PORTAL_DESCRIBED, text: bound.text } : PORTAL_DESCRIBED);
      return;
    }
    const { name } = message.fields;
    if (text === undefined) {
      if (name === '') closeUnnamed(server, out);
      out.messages.push(buildDescribe('statement', foreignName(name)));
      out.steps.push(step('describe-statement', 'forward', null));
      return;
    }
    const alias = aliasOf(text, name);
    this.#ensure(server, text, out, alias);
    out.messages.push(buildDescribe('statement', text.serverName));
    out.steps.push({ ...step('describe-statement', 'forward', text), alias });
  }

  #writeClose(
    message: BatchMessage & { kind: 'describe' | 'close' },
    text: PreparedText | undefined,
    out: Written,
  ): void {
    const { kind, name } = message.fields;
    if (kind === 'portal' || text === undefined || name === '') {
      out.messages.push(kind === 'portal' ? message.bytes : buildClose(kind, foreignName(name)));
      out.steps.push(step('close', 'forward', null, () => this.#forget(kind, name)));
      return;
    }
    // Other clients may use it: it stays on the server, the client's name goes.
    out.steps.push(step('close', 'fake', null, () => this.#forget(kind, name)));
  }

  /** The server connection holds the statement when the next message is read there. */
  #ensure(
    server: PostgresServerConnection,
    text: PreparedText,
    out: Written,
    alias: Step['alias'] = null,
  ): void {
    if (text.serverName === '') {
      if (server.unnamed === text) return;
      server.unnamed = text;
    } else {
      if (server.prepared.has(text) && !server.prepared.isDoubtful(text, this)) return;
      this.#hold(server, text, out);
    }
    out.messages.push(parseOf(text, text.serverName, text.types));
    out.steps.push({ ...step('parse', 'drop', text), alias });
  }

  /** Notes that the server holds it from now on, and closes what falls out of the bound, or may be there or not. */
  #hold(server: PostgresServerConnection, text: PreparedText, out: Written): void {
    const isDoubtful = server.prepared.isDoubtful(text, this);
    const surplus = server.prepared.add(text, this);
    for (const closed of isDoubtful ? [text, surplus] : [surplus]) {
      if (closed === null) continue;
      out.messages.push(buildClose('statement', closed.serverName));
      out.steps.push(step('close', 'drop', closed));
    }
  }

  #forget(kind: 'statement' | 'portal', name: string): void {
    if (kind !== 'statement') return;
    this.#changed.push({ name, before: this.#clientNames.get(name) });
    this.#clientNames.delete(name);
  }
}
