// An error of our own, planted: what some method of the running proxy does at its next call is to throw. For tests of what becomes of
// clients then, in one process with the proxy.

import type { TestContext } from 'node:test';

type Method = (...args: readonly unknown[]) => unknown;

export const PLANTED = 'planted by a test';

export interface Planted {
  /** It has thrown. */
  readonly isOver: boolean;
}

/** The next call of this method that `when` picks throws, whosever it is. */
export function plantError(
  t: TestContext,
  owner: { readonly prototype: object },
  method: string,
  when: (...args: readonly unknown[]) => boolean = () => true,
): Planted {
  const { prototype } = owner;
  const original = Reflect.get(prototype, method) as Method;
  const planted = { isOver: false };
  const uproot = (): void => void Reflect.set(prototype, method, original);
  Reflect.set(prototype, method, function (this: unknown, ...args: readonly unknown[]): unknown {
    if (planted.isOver || !when(...args)) return original.apply(this, [...args]);
    planted.isOver = true;
    uproot();
    throw new Error(PLANTED);
  });
  t.after(uproot);
  return planted;
}

/** What the log has of it: the stacks. */
export function plantedInLog(lines: readonly string[]): string[] {
  const entries = lines.map((line) => JSON.parse(line) as { err?: { message?: string; stack?: string } });
  return entries.flatMap(({ err }) => (err?.message === PLANTED ? [err.stack ?? ''] : []));
}
