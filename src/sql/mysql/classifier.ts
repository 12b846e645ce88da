// Classifies MySQL and MariaDB statements: lexes, finds the shape in its cache, and only for a new shape judges it. It
// owns the caches and their bounds; it opens no connection and never throws.

import { HintReader } from '../hint.js';
import { emptyStatement, mergeClasses } from '../merge.js';
import { hashBytes, ShapeCache, valueBytes } from '../shape-cache.js';
import {
  type Classified,
  type Classifier,
  type MysqlLexSettings,
  noStats,
  type StatementClass,
} from '../statement.js';
import type { Context, Draft, MysqlOverrides, Rules } from './context.js';
import { judgeStatement } from './judge.js';
import { MysqlLexer } from './lexer.js';
import type { MysqlCatalog } from './picture.js';
import { shownShape } from './shown-shape.js';
import { type Span, splitStatements } from './split.js';
import { Tokens } from './tokens.js';

export interface MysqlClassifierOptions {
  /** The newest picture of the database, or null before there is one. Asked for every statement: it must be cheap. */
  catalog: () => MysqlCatalog | null;
  /** Shapes remembered; default 10,000. */
  cacheEntries?: number;
  overrides?: MysqlOverrides;
}

const shapeCacheBytes = 16 * 1024 * 1024;
/** Statements whose literals matter (SET ...) are remembered by their whole text, if it is not longer. */
const maxLiteralKeyBytes = 4096;
const literalCacheBytes = 4 * 1024 * 1024;
/** More statements in one text than are judged one by one: the whole is what nobody understands. */
const maxStatements = 1000;

interface Known {
  readonly classified: Classified;
  /** The literals decide: the text must be looked up, not its shape. */
  readonly byLiterals: boolean;
}

const empty: Classified = { statement: emptyStatement, hint: null, shape: '' };

const bracket = 0x5b;
/** What stands in brackets may hide quotes and comments: neither shape nor hint can be told. */
const bracketed: Classified = {
  statement: { ...notUnderstood(1, 'brackets quote names here'), pin: 'untracked-setting' },
  hint: null,
  shape: '[...]',
};

class MysqlClassifier implements Classifier<MysqlLexSettings> {
  readonly stats = noStats();
  readonly #catalog: () => MysqlCatalog | null;
  readonly #reads: ReadonlySet<string>;
  readonly #writes: ReadonlySet<string>;
  readonly #lexer = new MysqlLexer();
  /** The body of a PREPARE is scanned while the text around it is still needed. */
  readonly #innerLexer = new MysqlLexer();
  readonly #hints = new HintReader();
  readonly #shapes: ShapeCache<Known>;
  readonly #literals: ShapeCache<Classified>;
  #seen: MysqlCatalog | null;

  constructor(options: MysqlClassifierOptions) {
    const maxEntries = options.cacheEntries ?? 10_000;
    this.#catalog = options.catalog;
    this.#reads = lowerCase(options.overrides?.readFunctions);
    this.#writes = lowerCase(options.overrides?.writeFunctions);
    this.#shapes = new ShapeCache({ maxEntries, maxBytes: shapeCacheBytes });
    this.#literals = new ShapeCache({ maxEntries: Math.ceil(maxEntries / 4), maxBytes: literalCacheBytes });
    this.#seen = options.catalog();
  }

  catalogChanged(): void {
    this.#seen = this.#catalog();
    this.#shapes.clear();
    this.#literals.clear();
    this.#noteSizes();
  }

  classify(sql: Buffer, settings: MysqlLexSettings): Classified {
    if (this.#catalog() !== this.#seen) this.catalogChanged();
    if (settings.bracketNames === true && sql.includes(bracket)) return bracketed;
    const lexer = this.#lexer;
    lexer.scan(sql, settings);
    this.stats.lexedBytes += sql.length;
    const classified = this.#lookUp(sql, settings);
    if (lexer.hintStart < 0) return classified;
    const hint = this.#hints.read(sql, lexer.hintStart, lexer.hintEnd);
    return hint === null ? classified : { statement: classified.statement, hint, shape: classified.shape };
  }

  #noteSizes(): void {
    const { stats } = this;
    stats.entries = this.#shapes.size + this.#literals.size;
    stats.bytes = this.#shapes.bytes + this.#literals.bytes;
    stats.refused = this.#shapes.refused + this.#literals.refused;
  }

  #lookUp(sql: Buffer, settings: MysqlLexSettings): Classified {
    const lexer = this.#lexer;
    if (lexer.count === 0 && !lexer.malformed) return empty;
    // What is not wholly in the shape cannot be found by it.
    if (lexer.malformed || lexer.shapeCut || lexer.tokensCut) {
      this.stats.misses++;
      return { statement: this.#judge(sql, settings).statement, hint: null, shape: this.#shown(settings) };
    }
    // What else decides: the lexer has already used up the other settings.
    const salt =
      settings.versionNumber * 4 + (settings.flavour === 'mysql' ? 0 : 1) + (settings.oracleMode ? 2 : 0);
    const hash = hashBytes(lexer.shape, 0, lexer.shapeLength);
    const known = this.#shapes.get(lexer.shape, 0, lexer.shapeLength, hash, salt);
    if (known === undefined) {
      this.stats.misses++;
      const { statement, byLiterals } = this.#judge(sql, settings);
      const classified = { statement, hint: null, shape: this.#shown(settings) };
      this.#shapes.set(
        lexer.shape,
        0,
        lexer.shapeLength,
        hash,
        salt,
        { classified, byLiterals },
        valueBytes(classified),
      );
      if (byLiterals) this.#keepLiterals(sql, settings, classified);
      this.#noteSizes();
      return classified;
    }
    if (!known.byLiterals) {
      this.stats.hits++;
      return known.classified;
    }
    return this.#byLiterals(sql, settings, known.classified.shape);
  }

  #byLiterals(sql: Buffer, settings: MysqlLexSettings, shape: string): Classified {
    if (sql.length <= maxLiteralKeyBytes) {
      const hash = hashBytes(sql, 0, sql.length);
      const found = this.#literals.get(sql, 0, sql.length, hash, literalSalt(settings));
      if (found !== undefined) {
        this.stats.hits++;
        return found;
      }
    }
    this.stats.misses++;
    const classified = { statement: this.#judge(sql, settings).statement, hint: null, shape };
    this.#keepLiterals(sql, settings, classified);
    this.#noteSizes();
    return classified;
  }

  #keepLiterals(sql: Buffer, settings: MysqlLexSettings, classified: Classified): void {
    if (sql.length > maxLiteralKeyBytes) return;
    const hash = hashBytes(sql, 0, sql.length);
    const bytes = valueBytes(classified);
    this.#literals.set(sql, 0, sql.length, hash, literalSalt(settings), classified, bytes);
  }

  #judge(sql: Buffer, settings: MysqlLexSettings): { statement: StatementClass; byLiterals: boolean } {
    const rules: Rules = { catalog: this.#seen, reads: this.#reads, writes: this.#writes };
    const inner = (text: string): StatementClass => {
      const bytes = Buffer.from(text, settings.characterSet.startsWith('utf8') ? 'utf8' : 'latin1');
      this.#innerLexer.scan(bytes, settings);
      return judgeAll(this.#innerLexer, bytes, settings, rules, () => null).statement;
    };
    return judgeAll(this.#lexer, sql, settings, rules, inner);
  }

  #shown(settings: MysqlLexSettings): string {
    return shownShape(this.#lexer, settings);
  }
}

function judgeAll(
  lexer: MysqlLexer,
  sql: Buffer,
  settings: MysqlLexSettings,
  rules: Rules,
  inner: Context['inner'],
): { statement: StatementClass; byLiterals: boolean } {
  const tokens = new Tokens(lexer, sql, settings.characterSet);
  const context: Context = { tokens, settings, rules, inner };
  const spans = splitStatements(tokens, settings);
  if (spans.length === 0) return { statement: notUnderstood(1, 'not understood'), byLiterals: false };
  if (spans.length > maxStatements) {
    return { statement: notUnderstood(spans.length, 'too many statements in one text'), byLiterals: false };
  }
  const drafts = spans.map((span) => judgeStatement(context, span));
  const byLiterals = drafts.some((draft) => draft.byLiterals);
  const classes = drafts.map((draft: Draft) => draft.build());
  let statement = classes.length === 1 ? classes[0]! : mergeClasses(classes);
  if (classes.length > 1 && classes.some((member) => member.afterWrite === true)) {
    statement = { ...statement, afterWrite: true };
  }
  if (classes.length > 1 && classes.some((member) => member.changesLogins === true)) {
    statement = { ...statement, changesLogins: true };
  }
  if (classes.length > 1 && classes.some((member) => member.runsPrograms === true)) {
    statement = { ...statement, runsPrograms: true };
  }
  // The server reads each statement when the one before it has run: it may read other characters, quotes and escapes.
  if (statement.route !== 'primary' && readsDifferently(sql, tokens, spans, classes)) {
    return {
      statement: notUnderstood(spans.length, 'a setting changes how the rest reads'),
      byLiterals: true,
    };
  }
  return { statement: freeze(statement), byLiterals };
}

const readingSettings: ReadonlySet<string> = new Set(['sql_mode', 'names', 'character_set_client']);

/** Whether a statement changes how the text reads, and something stands behind it that could read in two ways. */
function readsDifferently(
  sql: Buffer,
  tokens: Tokens,
  spans: readonly Span[],
  classes: readonly StatementClass[],
): boolean {
  const changing = classes.findIndex(({ session }) =>
    session.some((effect) => effect.kind === 'set' && readingSettings.has(effect.name)),
  );
  if (changing < 0 || changing === classes.length - 1) return false;
  for (let i = tokens.end(spans[changing]!.to - 1); i < sql.length; i++) {
    const byte = sql[i]!;
    if (byte === 0x5c || byte === 0x22 || byte === bracket || byte >= 0x80) return true;
  }
  return false;
}

function notUnderstood(statements: number, reason: string): StatementClass {
  return freeze({
    route: 'primary',
    reasons: [reason],
    pin: statements > 1 ? 'untracked-setting' : null,
    transaction: null,
    session: [],
    prepared: null,
    ddl: false,
    statements,
    verb: 'UNKNOWN',
  });
}

/** Classes are shared by all who send the same shape. */
function freeze(statement: StatementClass): StatementClass {
  Object.freeze(statement.reasons);
  Object.freeze(statement.session);
  return Object.freeze(statement);
}

/** Everything that changes how the text reads. */
function literalSalt(settings: MysqlLexSettings): number {
  let salt = settings.versionNumber * 16;
  if (settings.flavour === 'mariadb') salt += 1;
  if (settings.oracleMode) salt += 2;
  if (settings.ansiQuotes) salt += 4;
  if (settings.noBackslashEscapes) salt += 8;
  for (let i = 0; i < settings.characterSet.length; i++) {
    salt = (Math.imul(salt, 31) + settings.characterSet.charCodeAt(i)) | 0;
  }
  return salt;
}

function lowerCase(names: readonly string[] | undefined): ReadonlySet<string> {
  return new Set((names ?? []).map((name) => name.toLowerCase()));
}

export function createMysqlClassifier(options: MysqlClassifierOptions): Classifier<MysqlLexSettings> {
  return new MysqlClassifier(options);
}
