// Remembers what was concluded from recent texts, byte by byte the same: a hit costs one comparison, neither lexer nor hash.
// Bounded in texts and bytes; it knows nothing of SQL.

const SLOTS = 1024;
const MAX_TEXT_BYTES = 2048;
const MAX_BYTES = 1024 * 1024;
/** A text is replaced after so many others in a row have wanted its place: texts that never come again cost no copy. */
const MISSES_BEFORE_CHANGE = 8;

interface Slot<V> {
  text: Uint8Array | null;
  /** What else must be equal: the caller's settings folded to a number. */
  salt: number;
  value: V | null;
  misses: number;
}

export class TextCache<V> {
  #slots: Slot<V>[] = emptySlots();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get(text: Uint8Array, salt: number): V | null {
    if (text.length > MAX_TEXT_BYTES || text.length === 0) return null;
    const slot = this.#slots[slotOf(text)]!;
    if (slot.text !== null && slot.salt === salt && equals(slot.text, text)) {
      slot.misses = 0;
      return slot.value;
    }
    slot.misses++;
    return null;
  }

  /** After a `get` that found nothing: keeps it, if its place has been missed often enough. The bytes are copied. */
  offer(text: Uint8Array, salt: number, value: V): void {
    if (text.length > MAX_TEXT_BYTES || text.length === 0) return;
    const slot = this.#slots[slotOf(text)]!;
    if (slot.misses < MISSES_BEFORE_CHANGE) return;
    if (this.#bytes + text.length > MAX_BYTES) this.clear();
    this.#bytes += text.length - (slot.text?.length ?? 0);
    slot.text = new Uint8Array(text);
    slot.salt = salt;
    slot.value = value;
    slot.misses = 0;
  }

  clear(): void {
    this.#slots = emptySlots();
    this.#bytes = 0;
  }
}

function emptySlots<V>(): Slot<V>[] {
  return Array.from({ length: SLOTS }, () => ({ text: null, salt: 0, value: null, misses: 0 }));
}

/** By a few bytes only: texts that meet in one place fight for it, which costs hits and nothing else. */
function slotOf(text: Uint8Array): number {
  const { length } = text;
  const step = (length >> 4) | 1;
  let hash = length;
  for (let i = length - 1; i >= 0; i -= step) hash = (Math.imul(hash, 31) + text[i]!) | 0;
  return (hash ^ (hash >>> 10) ^ (hash >>> 20)) & (SLOTS - 1);
}

function equals(a: Uint8Array, b: Uint8Array): boolean {
  const { length } = a;
  if (length !== b.length) return false;
  // The call into native code costs more than this loop for the usual text.
  if (length > 256) return Buffer.compare(a, b) === 0;
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}
