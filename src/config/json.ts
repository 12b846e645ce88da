// Strict JSON (RFC 8259) that remembers where each value stood, so that every problem of a configuration has a line and a column.
// It knows nothing of what the values mean. JSON.parse gives no place on Node 20, and keeps silent about a key that is there twice.

export interface Place {
  /** Both count from 1; the column counts UTF-16 units. */
  readonly line: number;
  readonly column: number;
}

export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly place: Place;

  constructor(message: string, place: Place) {
    super(message);
    this.place = place;
  }
}

export interface ParsedJson {
  readonly value: unknown;
  /** By path, as in `clusters[0].nodes[1].host`: where the key, or the list's entry, begins. */
  readonly places: ReadonlyMap<string, Place>;
}

const MAX_DEPTH = 64;

/** Throws JsonSyntaxError. */
export function parseJson(text: string): ParsedJson {
  const reader = new Reader(text);
  const value = reader.document();
  return { value, places: reader.places };
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_$][\w$]*/y;

class Reader {
  readonly places = new Map<string, Place>();
  readonly #text: string;
  readonly #lineStarts: number[] = [0];
  #at: number;

  constructor(text: string) {
    this.#text = text;
    this.#at = text.startsWith('\uFEFF') ? 1 : 0;
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) this.#lineStarts.push(i + 1);
  }

  document(): unknown {
    this.#space();
    if (this.#at >= this.#text.length) throw this.#error('the file is empty');
    const value = this.#value('', 0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#error(`unexpected ${this.#here()} after the end`);
    return value;
  }

  #value(path: string, depth: number): unknown {
    if (depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} levels deep`);
    const char = this.#text[this.#at];
    if (char === '{') return this.#object(path, depth);
    if (char === '[') return this.#array(path, depth);
    if (char === '"') return this.#string();
    NUMBER.lastIndex = this.#at;
    const number = NUMBER.exec(this.#text)?.[0];
    if (number !== undefined) {
      this.#at += number.length;
      return Number(number);
    }
    WORD.lastIndex = this.#at;
    const word = WORD.exec(this.#text)?.[0];
    if (word === 'true' || word === 'false' || word === 'null') {
      this.#at += word.length;
      return word === 'null' ? null : word === 'true';
    }
    throw this.#error(
      word === undefined ? `expected a value, not ${this.#here()}` : `strings need quotes: ${word}`,
    );
  }

  #object(path: string, depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#at++;
    this.#space();
    if (this.#take('}')) return object;
    for (;;) {
      const keyAt = this.#at;
      if (this.#text[keyAt] !== '"')
        throw this.#error(`expected a key in double quotes, not ${this.#here()}`);
      const key = this.#string();
      const keyPath = path === '' ? key : `${path}.${key}`;
      if (Object.hasOwn(object, key)) throw this.#error(`key "${key}" is there twice`, keyAt);
      this.places.set(keyPath, this.#place(keyAt));
      this.#space();
      if (!this.#take(':')) throw this.#error(`expected ":" after the key, not ${this.#here()}`);
      this.#space();
      // Defined, not assigned: "__proto__" is a key like any other.
      Object.defineProperty(object, key, {
        value: this.#value(keyPath, depth + 1),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      this.#space();
      if (this.#take('}')) return object;
      this.#comma('}');
    }
  }

  #array(path: string, depth: number): unknown[] {
    const array: unknown[] = [];
    this.#at++;
    this.#space();
    if (this.#take(']')) return array;
    for (;;) {
      const entryPath = `${path}[${array.length}]`;
      this.places.set(entryPath, this.#place(this.#at));
      array.push(this.#value(entryPath, depth + 1));
      this.#space();
      if (this.#take(']')) return array;
      this.#comma(']');
    }
  }

  #comma(close: string): void {
    const commaAt = this.#at;
    if (!this.#take(',')) throw this.#error(`expected "," or "${close}", not ${this.#here()}`);
    this.#space();
    if (this.#text[this.#at] === close) throw this.#error(`no comma is allowed before "${close}"`, commaAt);
  }

  #string(): string {
    const startAt = this.#at++;
    let value = '';
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) throw this.#error('a string does not end', startAt);
      if (char === '"') {
        this.#at++;
        return value;
      }
      if (char < ' ') throw this.#error('a string may not contain a line break or control character');
      value += char === '\\' ? this.#escape() : char;
      if (char !== '\\') this.#at++;
    }
  }

  #escape(): string {
    const char = this.#text[this.#at + 1] ?? '';
    if (char === 'u') {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[\dA-Fa-f]{4}$/.test(digits)) throw this.#error('\\u needs four hexadecimal digits');
      this.#at += 6;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const value = ESCAPES[char];
    if (value === undefined) throw this.#error(`unknown escape \\${char}`);
    this.#at += 2;
    return value;
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? '')) this.#at++;
    const two = this.#text.slice(this.#at, this.#at + 2);
    if (two === '//' || two === '/*') throw this.#error('comments are not allowed in JSON');
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #here(): string {
    const char = this.#text[this.#at];
    return char === undefined ? 'the end of the file' : JSON.stringify(char);
  }

  #place(at: number): Place {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - this.#lineStarts[low]! + 1 };
  }

  #error(message: string, at = this.#at): JsonSyntaxError {
    return new JsonSyntaxError(message, this.#place(at));
  }
}
