// Temporary folders with configuration files, for tests; each is removed after its test.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface Folder {
  readonly path: string;
  /** Answers the file's path; objects are written as JSON. */
  write(name: string, content: unknown): string;
}

export function temporaryFolder(t: TestContext): Folder {
  const path = mkdtempSync(join(tmpdir(), 'scheelite-config-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    write(name, content) {
      const file = join(path, name);
      writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
      return file;
    },
  };
}

/** The least configuration, with parts replaced. */
export function minimal(
  cluster: Record<string, unknown> = {},
  top: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    listeners: [{ port: 6432 }],
    clusters: [{ protocol: 'postgres', nodes: [{ host: '10.0.0.1' }], ...cluster }],
    ...top,
  };
}
