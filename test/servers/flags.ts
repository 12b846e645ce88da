// What the values of flags must be on the command lines of the long runs; the bad one is named with what was expected.
// It knows no flag.

export class UsageError extends Error {}

/** Throws UsageError. */
export function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`--${flag} ${text}: a whole number from ${least} to ${most}`);
}

/** Throws UsageError. */
export function oneOf<T extends string>(flag: string, word: string | undefined, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === word);
  if (found === undefined) throw new UsageError(`--${flag} ${word ?? ''}: one of ${allowed.join(', ')}`);
  return found;
}
