// Copies of what has been read from a socket into a buffer that is read into again. It knows no socket.

/** What is read at once and is longer has memory of its own. */
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

/** With memory of its own: to be kept for longer. */
export function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** The same of what has been read, or a part of it, but for what is too long to have been cut from the pool. */
export function unpooled(chunk: Buffer): Buffer {
  return chunk.length > MAX_POOLED_BYTES ? chunk : copyOf(chunk);
}
