// Owns the cache folder that all clones share: unpacked servers (made by test/install) and initialized data
// directories. It does not know what is in a data directory.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { templatesName, testRoot } from './root.js';

const execFileAsync = promisify(execFile);

/** The same rule as `cache_folder` in test/install. */
export function cacheFolder(): string {
  const named = process.env.SCHEELITE_CACHE;
  if (named) return named;
  const shared = '/var/cache/scheelite';
  if (process.getuid?.() === 0 || existsSync(join(shared, 'mysql', 'complete'))) return shared;
  return userCache();
}

function userCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'scheelite');
}

/** For what this user makes; the shared folder is root's. */
export function writableCache(): string {
  const folder = cacheFolder();
  try {
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    return existsSync(folder) ? userCache() : folder;
  }
}

/** Keeps owners and times, and shares blocks where the file system can. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await execFileAsync('cp', ['-a', '--reflink=auto', from, to]);
}

const keptMs = 3 * 24 * 3600 * 1000;
const made = new Map<string, Promise<string>>();

/**
 * A folder to copy: `build` fills it once for all processes that give the same ingredients. What it is made from
 * must all be in `ingredients`, the server's version included.
 */
export function template(
  name: string,
  ingredients: unknown,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const digest = createHash('sha256')
    .update(JSON.stringify([ingredients, process.getuid?.()]))
    .digest('hex');
  const key = `${name}-${digest.slice(0, 16)}`;
  let promise = made.get(key);
  if (promise === undefined) {
    promise = find(key, build);
    made.set(key, promise);
  }
  return promise;
}

async function find(key: string, build: (folder: string) => Promise<void>): Promise<string> {
  const templates = join(writableCache(), 'templates');
  const cached = join(templates, key);
  if (existsSync(cached)) {
    try {
      utimesSync(cached, new Date(), new Date());
    } catch {
      // Somebody else's cache: then its age is their concern.
    }
    return cached;
  }
  const own = join(testRoot().folder(templatesName), key);
  mkdirSync(dirname(own), { recursive: true });
  await build(own);
  try {
    mkdirSync(templates, { recursive: true });
    chmodSync(templates, 0o755);
    prune(templates);
    const incoming = join(templates, `.${process.pid}-${key}`);
    rmSync(incoming, { recursive: true, force: true });
    await copyFolder(own, incoming);
    renameSync(incoming, cached);
  } catch {
    // Not ours to write, or another process was faster: what was built serves this process.
    rmSync(join(templates, `.${process.pid}-${key}`), { recursive: true, force: true });
    return own;
  }
  rmSync(own, { recursive: true, force: true });
  return cached;
}

function prune(templates: string): void {
  for (const name of readdirSync(templates)) {
    const path = join(templates, name);
    if (Date.now() - statSync(path).mtimeMs > keptMs) rmSync(path, { recursive: true, force: true });
  }
}
