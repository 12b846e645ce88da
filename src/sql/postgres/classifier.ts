// Classifies PostgreSQL statements: lexes, finds the shape in its cache, and only for a new shape judges it. It owns the
// caches and their bounds; it opens no connection and never throws.

import { isAscii, isUtf8 } from 'node:buffer';
import { HintReader } from '../hint.js';
import { emptyStatement, mergeClasses } from '../merge.js';
import { hashBytes, ShapeCache, valueBytes } from '../shape-cache.js';
import {
  type Classified,
  type Classifier,
  type Hint,
  noStats,
  type PinReason,
  type PostgresLexSettings,
  type StatementClass,
} from '../statement.js';
import { TextCache } from '../text-cache.js';
import type { PostgresCatalog } from './catalog.js';
import { primary, statementClass } from './class.js';
import { type Judged, judge } from './judge.js';
import { maxStatements, PostgresLexer } from './lexer.js';
import { type PostgresOverrides, PostgresRules } from './rules.js';
import { shownShape, withPlaceholders } from './shown-shape.js';
import { type Filled, fill, type Template, templateOf } from './template.js';
import {
  callsFunctions,
  doClass,
  firstWord,
  parsedWords,
  pinInShape,
  sessionWords,
  verbClass,
} from './verbs.js';

export interface PostgresClassifierOptions {
  /** The newest picture of the database, or null before there is one. Asked for every statement: it must be cheap. */
  catalog: () => PostgresCatalog | null;
  /** Shapes remembered; default 10,000. */
  cacheEntries?: number;
  /** Of that, and of the bytes; default 1. */
  cacheShare?: number;
  overrides?: PostgresOverrides;
}

const shapeCacheBytes = 16 * 1024 * 1024;
/** In place of the shape of what the server refuses. */
const UNREADABLE = '(not readable)';
/** Statements whose literals matter (SET ...) are remembered by their whole text, if it is not longer. */
const maxLiteralKeyBytes = 4096;
const literalCacheBytes = 4 * 1024 * 1024;

interface Known {
  readonly classified: Classified;
  /** The literals decide: the text must be looked up, not its shape. */
  readonly byLiterals: boolean;
  /** Undefined: not looked at. */
  template?: Template | null;
}

export interface PostgresClassifying extends Classifier<PostgresLexSettings> {
  /**
   * The text that has been classified last, with parameters for those of its integers that can be ones. Null: there are none, or its
   * shape has come for the first time.
   */
  filled(sql: Buffer): Filled | null;
  /** What a statement of this shape, which pins, leaves in its session is that, and nothing more. */
  pinsOnce(statement: StatementClass, shape: string): boolean;
}

/**
 * Encodings of clients (never of servers) in which the second byte of a character may be a backslash or a letter. The
 * server converts before it lexes; we do not.
 */
const misleadingEncodings: ReadonlySet<string> = new Set([
  'BIG5',
  'GB18030',
  'GBK',
  'JOHAB',
  'SHIFT_JIS_2004',
  'SJIS',
  'UHC',
]);

const savepointShape: Classified = {
  statement: statementClass('last', 'SAVEPOINT', { transaction: { kind: 'savepoint' } }),
  hint: null,
  shape: 'savepoint ?',
};
const releaseShape: Classified = {
  statement: statementClass('last', 'RELEASE', { transaction: { kind: 'release' } }),
  hint: null,
  shape: 'release ?',
};
const rollbackToShape: Classified = {
  statement: statementClass('last', 'ROLLBACK', { transaction: { kind: 'rollback-to' } }),
  hint: null,
  shape: 'rollback to ?',
};
const emptyShape: Classified = { statement: emptyStatement, hint: null, shape: '' };

class PostgresClassifier implements PostgresClassifying {
  readonly stats = noStats();
  readonly #catalog: () => PostgresCatalog | null;
  readonly #overrides: PostgresOverrides;
  readonly #lexer = new PostgresLexer();
  readonly #hints = new HintReader();
  readonly #shapes: ShapeCache<Known>;
  readonly #literals: ShapeCache<Classified>;
  readonly #texts = new TextCache<Classified>();
  /** Of the text that the lexer has read last. */
  #last: Known | null = null;
  #seen: PostgresCatalog | null;
  #rules: PostgresRules;

  constructor(options: PostgresClassifierOptions) {
    const share = options.cacheShare ?? 1;
    const maxEntries = Math.ceil((options.cacheEntries ?? 10_000) * share);
    this.#catalog = options.catalog;
    this.#overrides = options.overrides ?? {};
    this.#shapes = new ShapeCache({ maxEntries, maxBytes: shapeCacheBytes * share });
    this.#literals = new ShapeCache({
      maxEntries: Math.ceil(maxEntries / 4),
      maxBytes: literalCacheBytes * share,
    });
    this.#seen = options.catalog();
    this.#rules = new PostgresRules(this.#seen, this.#overrides);
  }

  catalogChanged(): void {
    this.#seen = this.#catalog();
    this.#rules = new PostgresRules(this.#seen, this.#overrides);
    this.#shapes.clear();
    this.#literals.clear();
    this.#texts.clear();
    this.#noteSizes();
  }

  classify(sql: Buffer, settings: PostgresLexSettings, recurs = false): Classified {
    if (this.#catalog() !== this.#seen) this.catalogChanged();
    this.#last = null;
    if (!recurs) return this.#classify(sql, settings);
    const { clientEncoding: encoding = 'UTF8' } = settings;
    if (encoding !== 'UTF8' && misleadingEncodings.has(encoding)) return this.#classify(sql, settings);
    const salt = settings.standardConformingStrings ? 1 : 2;
    const known = this.#texts.get(sql, salt);
    if (known !== null) {
      this.stats.hits++;
      return known;
    }
    const classified = this.#classify(sql, settings);
    this.#texts.offer(sql, salt, classified);
    return classified;
  }

  filled(sql: Buffer): Filled | null {
    const last = this.#last;
    if (last === null) return null;
    if (last.template === undefined) last.template = templateOf(this.#lexer);
    return last.template === null ? null : fill(last.template, this.#lexer, sql);
  }

  #classify(sql: Buffer, settings: PostgresLexSettings): Classified {
    const lexer = this.#lexer;
    lexer.run(sql, settings);
    this.stats.lexedBytes += sql.length;
    if (settings.clientEncoding !== undefined && misleadingEncodings.has(settings.clientEncoding)) {
      if (!isAscii(sql))
        return {
          statement: this.#unknown('its encoding hides quotes', 'untracked-setting'),
          hint: null,
          shape: '',
        };
    }
    const classified = this.#lookUp(sql, settings);
    if (lexer.hintStart < 0) return classified;
    const hint: Hint | null = this.#hints.read(sql, lexer.hintStart, lexer.hintEnd);
    return hint === null ? classified : { statement: classified.statement, hint, shape: classified.shape };
  }

  #noteSizes(): void {
    const { stats } = this;
    stats.entries = this.#shapes.size + this.#literals.size;
    stats.bytes = this.#shapes.bytes + this.#literals.bytes;
    stats.refused = this.#shapes.refused + this.#literals.refused;
  }

  #lookUp(sql: Buffer, settings: PostgresLexSettings): Classified {
    const lexer = this.#lexer;
    if (lexer.malformed) return this.#unlexable();
    if (lexer.statements === 0) return emptyShape;
    if (lexer.overlong) return this.#overlong(sql);
    const savepoint = this.#savepoint();
    if (savepoint !== null) return savepoint;

    const hash = hashBytes(lexer.shape, 0, lexer.length);
    const known = this.#shapes.get(lexer.shape, 0, lexer.length, hash, 0);
    if (known !== undefined && !known.byLiterals) {
      this.stats.hits++;
      this.#last = known;
      return known.classified;
    }
    if (known === undefined) {
      const { statement, needsLiterals } = this.#judgeAll(sql, settings, false);
      const classified = { statement, hint: null, shape: this.#shown() };
      this.#shapes.set(
        lexer.shape,
        0,
        lexer.length,
        hash,
        0,
        { classified, byLiterals: needsLiterals },
        valueBytes(classified),
      );
      this.#noteSizes();
      if (!needsLiterals) {
        this.stats.misses++;
        return classified;
      }
    }
    return this.#byLiterals(sql, settings, known?.classified.shape ?? this.#shown());
  }

  /** SAVEPOINT names are made up by the thousand; their shapes are not kept. */
  #savepoint(): Classified | null {
    const { shape, length, statements } = this.#lexer;
    // "sa", "re" or "ro": no SELECT comes further.
    const first = shape[0];
    const second = shape[1];
    if (first === 0x73 ? second !== 0x61 : first !== 0x72) return null;
    if (statements !== 1 || length > 200) return null;
    const match = /^(?:(savepoint)|(release)|rollback to)(?: savepoint)? ([a-z_]\w*|"[^"]*")$/.exec(
      ascii(shape, length),
    );
    if (match === null) return null;
    this.stats.hits++;
    return match[1] !== undefined ? savepointShape : match[2] !== undefined ? releaseShape : rollbackToShape;
  }

  #byLiterals(sql: Buffer, settings: PostgresLexSettings, shape: string): Classified {
    const lexer = this.#lexer;
    const start = lexer.textStarts[0]!;
    const end = lexer.textEnds[lexer.statements - 1]!;
    const kept = end - start <= maxLiteralKeyBytes;
    const hash = kept ? hashBytes(sql, start, end) : 0;
    const salt = settings.standardConformingStrings ? 1 : 2;
    const known = kept ? this.#literals.get(sql, start, end, hash, salt) : undefined;
    if (known !== undefined) {
      this.stats.hits++;
      return known;
    }
    this.stats.misses++;
    const { statement } = this.#judgeAll(sql, settings, true);
    const classified = { statement, hint: null, shape };
    if (kept) this.#literals.set(sql, start, end, hash, salt, classified, valueBytes(classified));
    this.#noteSizes();
    return classified;
  }

  #judgeAll(sql: Buffer, settings: PostgresLexSettings, literal: boolean): Judged {
    const lexer = this.#lexer;
    if (!isUtf8(lexer.shape.subarray(0, lexer.length))) {
      // Names in another encoding cannot be looked up, nor a SET be kept as text.
      return { statement: this.#unknown('the text is not UTF-8', 'untracked-setting'), needsLiterals: false };
    }
    const shapes: string[] = [];
    const words: string[] = [];
    for (let k = 0; k < lexer.statements; k++) {
      const bytes = lexer.shape.subarray(lexer.shapeStarts[k]!, lexer.shapeEnds[k]!);
      const shape = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
      shapes.push(shape);
      words.push(firstWord(shape));
    }
    // One write decides for all; the reads beside it need no parser.
    const written = words.some((word) => word !== '(' && !parsedWords.has(word));
    const classes: StatementClass[] = [];
    let needsLiterals = false;
    for (let k = 0; k < shapes.length; k++) {
      const shape = shapes[k]!;
      const word = words[k]!;
      const text = literal ? textOf(sql, lexer.textStarts[k]!, lexer.textEnds[k]!, settings) : null;
      let judged: Judged;
      if (word === 'do') {
        judged = literal
          ? {
              statement:
                text === null ? primary('DO', 'DO runs code', 'untracked-setting') : this.#doClass(text),
              needsLiterals: false,
            }
          : { statement: verbClass(word, shape), needsLiterals: true };
      } else if (word !== '(' && !parsedWords.has(word)) {
        let statement = verbClass(word, shape);
        if (statement.pin === null && callsFunctions(word, shape)) {
          const pin = this.#rules.pinOfCalls(shape) ?? this.#rules.pinOfWrites(shape);
          if (pin !== null) statement = { ...statement, pin };
        }
        judged = { statement, needsLiterals: false };
      } else if (written && !sessionWords.has(word)) {
        const verb = word === 'explain' || word === 'copy' || word === 'show' ? word.toUpperCase() : 'SELECT';
        judged = {
          statement: primary(verb, 'beside a write', this.#coarsePin(shape)),
          needsLiterals: false,
        };
      } else {
        judged = judge({
          shape,
          text: literal ? text : withPlaceholders(shape),
          literal,
          depth: lexer.depth,
          rules: this.#rules,
        });
      }
      classes.push(judged.statement);
      needsLiterals ||= judged.needsLiterals;
    }
    const statement = classes.length === 1 ? classes[0]! : mergeClasses(classes);
    return { statement: freeze(statement), needsLiterals: needsLiterals && !literal };
  }

  pinsOnce({ statements, verb }: StatementClass, shape: string): boolean {
    return statements === 1 && verb !== 'DO' && verb !== 'CALL' && this.#rules.pinsOnce(shape);
  }

  #coarsePin(shape: string): PinReason | null {
    return pinInShape(shape) ?? this.#rules.pinOfCalls(shape) ?? this.#rules.pinOfWrites(shape);
  }

  #doClass(text: string): StatementClass {
    const statement = doClass(text);
    if (statement.pin !== null) return statement;
    const body = text.toLowerCase();
    return { ...statement, pin: this.#rules.pinOfCalls(body) ?? this.#rules.pinOfWrites(body) };
  }

  #unlexable(): Classified {
    return {
      statement: this.#unknown('not PostgreSQL by its quoting', null),
      hint: null,
      // What is a literal in it nobody can say.
      shape: UNREADABLE,
    };
  }

  #unknown(reason: string, pin: StatementClass['pin']): StatementClass {
    return { ...primary('UNKNOWN', reason, pin), statements: Math.max(1, this.#lexer.statements) };
  }

  /** Too long to be parsed or kept: the first word of each statement decides, and nothing goes to a replica. */
  #overlong(sql: Buffer): Classified {
    const lexer = this.#lexer;
    this.stats.misses++;
    const shape = ascii(lexer.shape, lexer.length);
    const counted = Math.min(lexer.statements, maxStatements);
    let session = lexer.unlisted;
    for (let k = 0; k < counted; k++) {
      const start = lexer.textStarts[k]!;
      session ||= sessionWords.has(firstWord(sql.toString('latin1', start, start + 16).toLowerCase()));
    }
    const first = firstWord(shape);
    const base =
      parsedWords.has(first) || first === '('
        ? primary(first === '(' ? 'SELECT' : first.toUpperCase(), 'too long to be looked at')
        : verbClass(first, shape);
    const pin = session ? 'untracked-setting' : (base.pin ?? this.#coarsePin(shape));
    const statement = { ...base, pin, statements: lexer.statements, session: [] };
    return { statement, hint: null, shape: this.#shown() };
  }

  #shown(): string {
    return shownShape(this.#lexer);
  }
}

function ascii(bytes: Uint8Array, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1');
}

/** The text as written; null when the parser (which knows standard_conforming_strings = on only) would misread it. */
function textOf(sql: Buffer, start: number, end: number, settings: PostgresLexSettings): string | null {
  const bytes = sql.subarray(start, end);
  if (!settings.standardConformingStrings && bytes.includes(0x5c)) return null;
  return isUtf8(bytes) ? bytes.toString('utf8') : null;
}

function freeze(statement: StatementClass): StatementClass {
  Object.freeze(statement.reasons);
  Object.freeze(statement.session);
  return Object.freeze(statement);
}

/** A classifier for one cluster; its caches are bounded by `cacheEntries` and by 20 MB of keys and values. */
export function createPostgresClassifier(options: PostgresClassifierOptions): PostgresClassifying {
  return new PostgresClassifier(options);
}
