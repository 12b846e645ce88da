// What loading a configuration gives, and whether its files are still those that it was made of. It knows no schema.

import { stat } from 'node:fs/promises';
import { type Problem, problemText } from './problems.js';
import type { Config } from './schema.js';

export interface Loaded {
  /** Absolute. */
  readonly path: string;
  /** Null when there is any problem. */
  readonly config: Config | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** All files that it was made of, with what `fileSignature` said just before each was read; for whoever watches them. */
  readonly files: ReadonlyMap<string, string>;
}

/** Changes when the file is written, replaced, taken away or reached by another link. */
export async function fileSignature(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}

/** One line a problem, in the order of the file. */
export function problemLines(loaded: Loaded, file: string): string[] {
  return loaded.problems.map((problem) => problemText(problem, file));
}
