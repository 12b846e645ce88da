// What must agree, beside user and database, for clients to share server connections: capabilities and the collation of the login.
// The text is the `variant` of a PoolKey; nothing else here.

import type { Capabilities } from './wire/capabilities.js';

export interface Variant {
  /** keyedCapabilities of the clients. */
  readonly keyed: Capabilities;
  readonly collation: number;
}

export function variantText({ keyed, collation }: Variant): string {
  return `${keyed.flags.toString(16)}.${keyed.mariadb.toString(16)}.${collation}`;
}

export function parseVariant(text: string): Variant {
  const [flags, mariadb, collation] = text.split('.');
  return {
    keyed: { flags: Number.parseInt(flags ?? '', 16) || 0, mariadb: Number.parseInt(mariadb ?? '', 16) || 0 },
    collation: Number(collation) || 45,
  };
}
