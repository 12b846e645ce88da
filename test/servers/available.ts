// Tells which servers, peers and clients this machine has and where; it starts none.

import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { findEmbeddedPostgres } from '../../src/cli/demo/embedded-postgres.js';
import { cacheFolder } from './cache.js';

export type Kind = 'postgres' | 'mysql' | 'mariadb';
export type Peer = 'redis' | 'pgbouncer' | 'pgbouncer-1.26' | 'haproxy' | 'mysqlrouter' | 'pgpool';

export type Availability =
  | { readonly available: true; readonly program: string }
  | { readonly available: false; readonly reason: string };

/** Programs in folders that are not on every user's PATH. */
const extraFolders = ['/usr/sbin', '/usr/local/sbin', '/sbin', '/usr/lib/postgresql/15/bin'];

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Absolute path of a program, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...extraFolders];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

/** The wrapper of a program out of the unstable suite, as test/install makes them. */
export function unpackedProgram(name: string): string | undefined {
  const path = join(cacheFolder(), 'mysql', 'bin', name);
  return isProgram(path) ? path : undefined;
}

function found(program: string | undefined, name: string): Availability {
  if (program !== undefined) return { available: true, program };
  return { available: false, reason: `${name} is not installed (run test/install)` };
}

/** For `postgres` the version is 15 (Debian's) or 18 (npm's, the default); the others have one each. */
export function available(kind: Kind, version?: number): Availability {
  switch (kind) {
    case 'postgres': {
      if ((version ?? 18) === 15) {
        const program = '/usr/lib/postgresql/15/bin/postgres';
        return found(isProgram(program) ? program : undefined, 'PostgreSQL 15');
      }
      const embedded = findEmbeddedPostgres();
      if ('missing' in embedded) return { available: false, reason: embedded.missing };
      return { available: true, program: join(embedded.native, 'bin', 'postgres') };
    }
    case 'mariadb':
      return found(findProgram('mariadbd'), 'MariaDB');
    case 'mysql':
      return found(unpackedProgram('mysqld'), 'MySQL');
  }
}

export function availablePeer(peer: Peer): Availability {
  switch (peer) {
    case 'redis':
      return found(findProgram('redis-server'), 'Redis');
    case 'pgbouncer-1.26':
      return found(unpackedProgram('pgbouncer'), 'PgBouncer 1.26');
    case 'mysqlrouter':
      return found(unpackedProgram('mysqlrouter'), 'MySQL Router');
    default:
      return found(findProgram(peer), peer);
  }
}

/**
 * For `test(name, { skip: ... })`: false where it is there, the reason where it is not. Under CI=true there is no
 * skipping: it throws.
 */
export function skipWithout(what: Availability): string | false {
  if (what.available) return false;
  if (process.env.CI === 'true') throw new Error(`under CI every server must be there: ${what.reason}`);
  return what.reason;
}

/** Client programs; undefined where they are not installed. */
export interface Clients {
  readonly psql: string | undefined;
  readonly pgbench: string | undefined;
  /** MySQL's own client, which knows caching_sha2_password. */
  readonly mysql: string | undefined;
  readonly mariadb: string | undefined;
  readonly sysbench: string | undefined;
}

export function clients(): Clients {
  return {
    psql: findProgram('psql'),
    pgbench: findProgram('pgbench'),
    mysql: unpackedProgram('mysql'),
    mariadb: findProgram('mariadb'),
    sysbench: findProgram('sysbench'),
  };
}

const versions = new Map<string, string>();

/** `9.7.4`, `10.11.19`, `15.18`: what the program says of itself. */
export function versionOf(program: string): string {
  let version = versions.get(program);
  if (version === undefined) {
    // Some say it on one stream, some on the other; HAProxy knows only the short option.
    const { stdout, stderr } = spawnSync(program, [program.endsWith('haproxy') ? '-v' : '--version'], {
      encoding: 'utf8',
    });
    const text = `${stdout}${stderr}`;
    version = /\d+\.\d+(\.\d+)?/.exec(text.replace(program, ''))?.[0] ?? 'unknown';
    versions.set(program, version);
  }
  return version;
}
