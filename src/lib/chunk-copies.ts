// Copies of what has been read from a socket into a buffer that is read into again. It knows no socket.

/** What is longer has memory of its own. */
export const MAX_POOLED_BYTES = 8_192;

/**
 * The first `length` bytes, cut from Node's pool where they are few: memory of its own costs 2 to 3 us. Whoever keeps some of it
 * for longer than its unit takes `copyOf`: it would keep all of what it was cut from (16 KiB).
 */
export function pooledCopyOf(bytes: Buffer, length: number): Buffer {
  const copy = Buffer.allocUnsafe(length);
  copy.set(bytes.subarray(0, length));
  return copy;
}

/** The first `length` bytes, with memory of their own: to be kept for longer. */
export function copyOf(bytes: Buffer, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  copy.set(bytes.subarray(0, length));
  return copy;
}
