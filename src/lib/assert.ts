// Assertions: for our own bugs, never for what the world sends. A broken one ends that connection, not the process.

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
