// Decides under which user servers run: PostgreSQL and PgBouncer refuse to run as root. It starts nothing.

import { lchownSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Options for `child_process.spawn`; empty where the process itself is unprivileged. */
export interface RunAs {
  readonly uid?: number;
  readonly gid?: number;
}

/** Root becomes `postgres` where there is one, else `nobody`; anyone else stays who they are. */
export function unprivileged(): RunAs {
  if (process.getuid?.() !== 0) return {};
  let accounts = '';
  try {
    accounts = readFileSync('/etc/passwd', 'utf8');
  } catch {
    // No such file: the ids below are what most systems give to nobody.
  }
  for (const name of ['postgres', 'nobody']) {
    const fields = accounts
      .split('\n')
      .find((line) => line.startsWith(`${name}:`))
      ?.split(':');
    const uid = Number(fields?.[2]);
    const gid = Number(fields?.[3]);
    if (fields !== undefined && uid > 0 && gid > 0) return { uid, gid };
  }
  return { uid: 65_534, gid: 65_534 };
}

/** Gives a file or a folder with all that is in it to the user that servers run as. */
export function giveTo(as: RunAs, path: string): void {
  if (as.uid === undefined || as.gid === undefined) return;
  lchownSync(path, as.uid, as.gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) giveTo(as, join(path, name));
}
