// Capability flags of MySQL and MariaDB, and which of them the proxy offers, uses and keys its server connections by.
// Flags: https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html
// MariaDB: https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection

/** The 32 bits of both servers. Bit 0 is LONG_PASSWORD in MySQL; MariaDB calls it CLIENT_MYSQL and clears it. */
export const CAPABILITY = {
  LONG_PASSWORD: 1,
  FOUND_ROWS: 1 << 1,
  LONG_FLAG: 1 << 2,
  CONNECT_WITH_DB: 1 << 3,
  NO_SCHEMA: 1 << 4,
  COMPRESS: 1 << 5,
  ODBC: 1 << 6,
  LOCAL_FILES: 1 << 7,
  IGNORE_SPACE: 1 << 8,
  PROTOCOL_41: 1 << 9,
  INTERACTIVE: 1 << 10,
  SSL: 1 << 11,
  IGNORE_SIGPIPE: 1 << 12,
  TRANSACTIONS: 1 << 13,
  RESERVED: 1 << 14,
  SECURE_CONNECTION: 1 << 15,
  MULTI_STATEMENTS: 1 << 16,
  MULTI_RESULTS: 1 << 17,
  PS_MULTI_RESULTS: 1 << 18,
  PLUGIN_AUTH: 1 << 19,
  CONNECT_ATTRS: 1 << 20,
  PLUGIN_AUTH_LENENC: 1 << 21,
  CAN_HANDLE_EXPIRED_PASSWORDS: 1 << 22,
  SESSION_TRACK: 1 << 23,
  DEPRECATE_EOF: 1 << 24,
  OPTIONAL_RESULTSET_METADATA: 1 << 25,
  ZSTD_COMPRESSION: 1 << 26,
  QUERY_ATTRIBUTES: 1 << 27,
  MULTI_FACTOR: 1 << 28,
} as const;

/** MariaDB's second 32 bits, in the last four reserved bytes of the greeting and of its answer. */
export const MARIADB_CAPABILITY = {
  PROGRESS: 1,
  COM_MULTI: 1 << 1,
  STMT_BULK_OPERATIONS: 1 << 2,
  EXTENDED_METADATA: 1 << 3,
  CACHE_METADATA: 1 << 4,
  BULK_UNIT_RESULTS: 1 << 5,
} as const;

export interface Capabilities {
  readonly flags: number;
  /** MariaDB's; 0 elsewhere. */
  readonly mariadb: number;
}

const C = CAPABILITY;
const M = MARIADB_CAPABILITY;

/**
 * Change what the server answers or how it reads a command: server connections are shared only between clients
 * that agree in all of them.
 */
const KEYED_FLAGS =
  C.FOUND_ROWS |
  C.NO_SCHEMA |
  C.ODBC |
  C.LOCAL_FILES |
  C.IGNORE_SPACE |
  C.MULTI_STATEMENTS |
  C.PS_MULTI_RESULTS |
  C.DEPRECATE_EOF |
  C.OPTIONAL_RESULTSET_METADATA |
  C.QUERY_ATTRIBUTES;

const KEYED_MARIADB = M.STMT_BULK_OPERATIONS | M.EXTENDED_METADATA | M.BULK_UNIT_RESULTS;

/** Change nothing on the wire after the login, or are the login's own business. */
const OFFERED_ONLY =
  C.LONG_FLAG |
  C.CONNECT_WITH_DB |
  C.PROTOCOL_41 |
  C.INTERACTIVE |
  C.IGNORE_SIGPIPE |
  C.TRANSACTIONS |
  C.RESERVED |
  C.SECURE_CONNECTION |
  C.MULTI_RESULTS |
  C.PLUGIN_AUTH |
  C.CONNECT_ATTRS |
  C.PLUGIN_AUTH_LENENC |
  C.CAN_HANDLE_EXPIRED_PASSWORDS |
  C.SESSION_TRACK;

const ALWAYS_USED =
  C.LONG_FLAG |
  C.PROTOCOL_41 |
  C.TRANSACTIONS |
  C.SECURE_CONNECTION |
  C.MULTI_RESULTS |
  C.PLUGIN_AUTH |
  C.CONNECT_ATTRS |
  C.PLUGIN_AUTH_LENENC |
  C.SESSION_TRACK;

const unsigned = (flags: number): number => flags >>> 0;

/**
 * What the greeting offers to applications in front of a server with these capabilities. Never TLS or compression yet;
 * never CACHE_METADATA, whose "as you know it" would speak of another server connection; never progress reports.
 */
export function offeredCapabilities(server: Capabilities): Capabilities {
  const isMysql = (server.flags & C.LONG_PASSWORD) !== 0;
  return {
    flags: unsigned(
      (server.flags & (KEYED_FLAGS | OFFERED_ONLY)) |
        (isMysql ? C.LONG_PASSWORD : 0) |
        C.PROTOCOL_41 |
        C.SECURE_CONNECTION |
        C.PLUGIN_AUTH |
        C.SESSION_TRACK,
    ),
    mariadb: isMysql ? 0 : unsigned(server.mariadb & KEYED_MARIADB),
  };
}

/** One object for all clients of a kind that log in one after the other: each keeps it. */
let latest: Capabilities = { flags: 0, mariadb: 0 };

/** What both sides of a client connection speak: a client may name more than it was offered. */
export function commonCapabilities(offered: Capabilities, client: Capabilities): Capabilities {
  const flags = unsigned(client.flags & (offered.flags | C.LONG_PASSWORD));
  const mariadb = unsigned(client.mariadb & offered.mariadb);
  if (latest.flags !== flags || latest.mariadb !== mariadb) latest = { flags, mariadb };
  return latest;
}

/** The part of a client's capabilities that its server connections must have too. */
export function keyedCapabilities(client: Capabilities): Capabilities {
  return { flags: unsigned(client.flags & KEYED_FLAGS), mariadb: unsigned(client.mariadb & KEYED_MARIADB) };
}

/** What the proxy asks of a node for a server connection with the given keyed capabilities. */
export function requestedCapabilities(keyed: Capabilities, server: Capabilities): Capabilities {
  const isMysql = (server.flags & C.LONG_PASSWORD) !== 0;
  return {
    flags: unsigned(
      ((keyed.flags & KEYED_FLAGS) | ALWAYS_USED | (isMysql ? C.LONG_PASSWORD : 0)) & server.flags,
    ),
    mariadb: isMysql ? 0 : unsigned(keyed.mariadb & KEYED_MARIADB & server.mariadb),
  };
}

export function hasCapability(capabilities: Capabilities, flag: number): boolean {
  return (capabilities.flags & flag) !== 0;
}

/** A key for pools: equal for equal capabilities. */
export function capabilitiesText(capabilities: Capabilities): string {
  return `${capabilities.flags.toString(16)}.${capabilities.mariadb.toString(16)}`;
}
