// Owns one PostgreSQL server and its data directory: initialize, clone, start, stop. It does not know the proxy,
// the cluster's roles or what is in the databases.

import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import type { PostgresBinaries } from './embedded-postgres.js';
import { giveTo, type RunAs } from './run-as.js';
import { ServerProcess } from './server-process.js';
import type { TempRoot } from './temp-root.js';

export interface InitOptions {
  readonly binaries: PostgresBinaries;
  readonly as: RunAs;
  readonly dataDir: string;
  readonly superuser: { readonly user: string; readonly password: string };
  /** Goes behind what initdb wrote into postgresql.conf. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Replaces pg_hba.conf. */
  readonly hba: readonly string[];
  /** Ends initdb with this process, as it does with servers. */
  readonly root?: TempRoot;
}

/** Makes a new database cluster. Not synced to disk: these servers live as long as their process. */
export async function initDatabase(options: InitOptions): Promise<void> {
  const { binaries, as, dataDir, superuser } = options;
  mkdirSync(dirname(dataDir), { recursive: true });
  mkdirSync(dataDir, { mode: 0o700 });
  const passwordFile = join(dirname(dataDir), 'superuser-password');
  writeFileSync(passwordFile, `${superuser.password}\n`, { mode: 0o600 });
  giveTo(as, passwordFile);
  giveTo(as, dataDir);
  try {
    await run(
      binaries.initdb,
      [
        ...['-D', dataDir, '-U', superuser.user, '--pwfile', passwordFile, '-A', 'scram-sha-256'],
        ...['-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions'],
      ],
      as,
      options.root,
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  const lines = Object.entries(options.settings).map(([name, value]) => `${name} = ${quote(String(value))}`);
  appendFileSync(join(dataDir, 'postgresql.conf'), `\n${lines.join('\n')}\n`);
  writeFileSync(join(dataDir, 'pg_hba.conf'), `${options.hba.join('\n')}\n`);
  giveTo(as, dataDir);
}

/** A value for postgresql.conf or a literal of SQL without backslashes. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function run(program: string, args: string[], as: RunAs, root: TempRoot | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    // Under a root it is ended by that, so Ctrl-C in a terminal need not reach it.
    const detached = root !== undefined;
    const child = spawn(program, args, { ...as, cwd: '/', detached, stdio: ['ignore', 'pipe', 'pipe'] });
    const { pid } = child;
    if (pid !== undefined) {
      root?.adopt(pid, 'SIGKILL');
      child.once('exit', () => root?.forget(pid));
    }
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        text += chunk;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} failed (${code}):\n${text.trim()}`));
    });
  });
}

export interface Upstream {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** How the replica names itself in pg_stat_replication. */
  readonly applicationName: string;
}

/** libpq's keyword/value string; values are quoted because a password may hold anything. */
export function primaryConninfo(upstream: Upstream): string {
  const value = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  return [
    `host=${value(upstream.host)}`,
    `port=${upstream.port}`,
    `user=${value(upstream.user)}`,
    `password=${value(upstream.password)}`,
    `application_name=${value(upstream.applicationName)}`,
  ].join(' ');
}

/** Turns a data directory that was copied from a primary into that of a streaming replica. */
export function makeStandby(dataDir: string, as: RunAs, upstream: Upstream): void {
  const signal = join(dataDir, 'standby.signal');
  writeFileSync(signal, '');
  giveTo(as, signal);
  // Where ALTER SYSTEM writes, so that whoever re-points the replica that way replaces this line.
  const automatic = join(dataDir, 'postgresql.auto.conf');
  let kept: string[] = [];
  try {
    kept = readFileSync(automatic, 'utf8')
      .split('\n')
      .filter((line) => !/^\s*primary_conninfo\b/.test(line));
  } catch {
    // None yet.
  }
  const line = `primary_conninfo = ${quote(primaryConninfo(upstream).replaceAll('\\', '\\\\'))}`;
  writeFileSync(automatic, `${[...kept.filter((text) => text !== ''), line].join('\n')}\n`);
  giveTo(as, automatic);
}

/** What a base backup leaves out: PostgreSQL 18, protocol-replication, BASE_BACKUP. */
const emptyFolders = new Set([
  'pg_wal',
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);
const leftOut =
  /^(postmaster\.(pid|opts)|backup_label(\.old)?|standby\.signal|recovery\.signal|pgsql_tmp.*)$/;

/** In steps that leave the event loop free: the proxy in front may live in this process. */
async function copyTree(from: string, to: string, top: boolean): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (leftOut.test(entry.name)) continue;
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    try {
      if (entry.isDirectory()) {
        if (!top || !emptyFolders.has(entry.name)) await copyTree(source, target, false);
        else {
          await mkdir(target, { mode: 0o700 });
          if (entry.name === 'pg_wal') await mkdir(join(target, 'archive_status'), { mode: 0o700 });
        }
      } else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
      else {
        await copyFile(source, target);
        await chmod(target, 0o600);
      }
    } catch (error) {
      // A running server drops files between our list and our copy; what it had written about that is in the WAL.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/**
 * A base backup of a running server without pg_basebackup, which the npm packages do not have: the copy is taken
 * between pg_backup_start and pg_backup_stop (PostgreSQL documentation, "Making a Base Backup Using the Low Level
 * API"), both in one session. The WAL comes from the server when the copy starts as its replica, so the server
 * must keep enough of it (`wal_keep_size`).
 */
export async function cloneRunning(
  source: { readonly connection: pg.ClientConfig; readonly dataDir: string },
  target: { readonly dataDir: string; readonly as: RunAs },
): Promise<void> {
  const client = new pg.Client(source.connection);
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('clone', true)");
    await copyTree(source.dataDir, target.dataDir, true);
    const done = await client.query<{ labelfile: string; spcmapfile: string | null }>(
      'SELECT labelfile, spcmapfile FROM pg_backup_stop(false)',
    );
    const row = done.rows[0];
    if (row === undefined) throw new Error('pg_backup_stop returned nothing');
    writeFileSync(join(target.dataDir, 'backup_label'), row.labelfile);
    if (row.spcmapfile) writeFileSync(join(target.dataDir, 'tablespace_map'), row.spcmapfile);
  } finally {
    await client.end();
  }
  giveTo(target.as, target.dataDir);
}

export interface PostgresServerOptions {
  readonly name: string;
  readonly binaries: PostgresBinaries;
  readonly as: RunAs;
  readonly root: TempRoot;
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  /** On the command line, so ALTER SYSTEM cannot change them. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

/** A server process on a data directory that exists; it can be started again after every end. */
export function postgresServer(options: PostgresServerOptions): ServerProcess {
  const { binaries, dataDir, host, port } = options;
  const settings = { listen_addresses: host, port, unix_socket_directories: '', ...options.settings };
  return new ServerProcess({
    name: `PostgreSQL ${options.name}`,
    command: () => [
      binaries.postgres,
      '-D',
      dataDir,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    as: options.as,
    cwd: dirname(dataDir),
    // What the caller's environment says of its own PostgreSQL (PGPORT, PGOPTIONS ...) is not for this one.
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    logFile: `${dataDir}.log`,
    root: options.root,
    // server-start, "Shutting Down the Server": INT is a fast shutdown, QUIT an immediate one.
    stopSignal: 'SIGINT',
    farewell: 'SIGQUIT',
    ready: async (pid) => {
      // The eighth line of postmaster.pid is what pg_ctl waits for; the first one tells it from a dead server's.
      try {
        const lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
        return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
      } catch {
        return false;
      }
    },
    // After SIGKILL, until the last orphaned backend is gone.
    retryStart: (log) =>
      /pre-existing shared memory block|lock file "postmaster.pid" already exists/.test(log),
  });
}

/**
 * Frees what a killed server leaves in the kernel: one that was shut down removes postmaster.pid and its System V
 * segment, whose key and id are the file's seventh line; a killed one leaves both.
 */
export function freeSharedMemory(dataDir: string): void {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return;
  }
  const id = Number(lines[6]?.trim().split(/\s+/)[1]);
  if (id > 0) spawnSync('ipcrm', ['-m', String(id)], { stdio: 'ignore' });
}
