// Reads the directives of a leading comment (slash star scheelite: key=value key=value star slash).
// It knows neither dialect nor what a directive means; whoever routes decides what to believe.

import { hashBytes, ShapeCache } from './shape-cache.js';
import type { Hint } from './statement.js';

/** A longer comment is a licence text or an attack, not a hint. */
const maxHintBytes = 1024;
const maxDirectives = 16;
const marker = 'scheelite:';

/**
 * `text` is a comment's inside, without its delimiters. Null when it does not begin with the marker. A part that is not
 * `key=value` is skipped: a mistake in a comment must not break a statement. Values end at white space or a comma,
 * or are quoted ('a b', "a b"); the last of two equal keys counts.
 */
export function parseHint(text: string): Hint | null {
  const body = text.trimStart();
  if (body.slice(0, marker.length).toLowerCase() !== marker) return null;
  const directives = new Map<string, string>();
  const pattern = /([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s,;"']+))/g;
  for (const match of body.slice(marker.length).matchAll(pattern)) {
    if (directives.size >= maxDirectives) break;
    directives.set(match[1]!.toLowerCase(), match[2] ?? match[3] ?? match[4] ?? '');
  }
  return directives;
}

/** Whether the bytes of a comment's inside begin with the marker; cheap enough for every statement with a comment. */
export function looksLikeHint(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > maxHintBytes) return false;
  let i = start;
  while (i < end && (bytes[i] === 0x20 || (bytes[i]! >= 0x09 && bytes[i]! <= 0x0d))) i++;
  if (end - i < marker.length) return false;
  for (let k = 0; k < marker.length; k++) {
    const byte = bytes[i + k]!;
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (lower !== marker.charCodeAt(k)) return false;
  }
  return true;
}

/** Parses hints found in statements, remembering the recent ones by their bytes so that a repeated hint makes no string. */
export class HintReader {
  readonly #cache = new ShapeCache<Hint>({ maxEntries: 1024, maxBytes: 256 * 1024 });

  /** `start` to `end`: the comment's inside. Null when it is no hint. */
  read(sql: Buffer, start: number, end: number): Hint | null {
    if (!looksLikeHint(sql, start, end)) return null;
    const hash = hashBytes(sql, start, end);
    const known = this.#cache.get(sql, start, end, hash, 0);
    if (known !== undefined) return known;
    const hint = parseHint(sql.toString('utf8', start, end));
    if (hint !== null) this.#cache.set(sql, start, end, hash, 0, hint);
    return hint;
  }
}
