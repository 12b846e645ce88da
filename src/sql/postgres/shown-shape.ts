// The shape of the statement that a PostgreSQL lexer has just read, as people see it and as rules compare it.
// It knows no classification.

import type { PostgresLexSettings } from '../statement.js';
import { PostgresLexer, placeholder } from './lexer.js';

/** A shape is shown and counted under this much of it. */
const maxShownShape = 2048;
// biome-ignore lint/suspicious/noControlCharactersInRegex: placeholders are control bytes so that no statement has them.
const placeholders = /[\u0001-\u0004]/g;

const NUMBER = String.fromCharCode(placeholder.number);
const placeholderText: Readonly<Record<string, string>> = {
  [String.fromCharCode(placeholder.string)]: "'?'",
  [NUMBER]: '1',
  [String.fromCharCode(placeholder.bits)]: "B'0'",
  [String.fromCharCode(placeholder.parameter)]: '$1',
};

/**
 * The shape as text that the parser reads: a literal of its kind in each literal's place. `onNumber` is told where each number
 * stands in it, in characters.
 */
export function withPlaceholders(shape: string, onNumber?: (at: number) => void): string {
  let grown = 0;
  return shape.replace(placeholders, (byte, at: number) => {
    const text = placeholderText[byte]!;
    if (byte === NUMBER) onNumber?.(at + grown);
    grown += text.length - 1;
    return text;
  });
}

export function shownShape({ shape, length, overlong }: PostgresLexer): string {
  const cut = overlong || length > maxShownShape;
  const bytes = Buffer.from(
    shape.buffer,
    shape.byteOffset,
    cut ? Math.min(length, maxShownShape - 3) : length,
  );
  return bytes.toString('utf8').replace(placeholders, '?') + (cut ? '...' : '');
}

/** Of a statement that nobody sends now. `statements`: 0 where its quoting is wrong. */
export function shapeOfText(
  text: string,
  settings: PostgresLexSettings,
): { shape: string; statements: number } {
  const lexer = new PostgresLexer();
  lexer.run(Buffer.from(text), settings);
  return { shape: shownShape(lexer), statements: lexer.malformed ? 0 : lexer.statements };
}
