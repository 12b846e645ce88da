// libpq connection strings as they stand in primary_conninfo: read, repoint, write; pure functions.
// It opens no socket. Reference: "Connection Strings" in the libpq chapter of the PostgreSQL manual.

/**
 * A directory that no server listens in. A standby whose primary_conninfo names it receives nothing, while the account
 * and password of replication stay where they were; an emptied setting would lose them with this process.
 */
export const NOWHERE = '/scheelite-stopped';

export type Conninfo = ReadonlyMap<string, string>;

/** Keyword form or URI; throws TypeError on what libpq would refuse. */
export function parseConninfo(text: string): Conninfo {
  return /^postgres(ql)?:\/\//.test(text) ? parseUri(text) : parseKeywords(text);
}

function parseKeywords(text: string): Conninfo {
  const out = new Map<string, string>();
  let at = 0;
  const skipSpace = () => {
    while (at < text.length && /\s/.test(text[at]!)) at++;
  };
  for (skipSpace(); at < text.length; skipSpace()) {
    const start = at;
    while (at < text.length && !/[\s=]/.test(text[at]!)) at++;
    const key = text.slice(start, at);
    skipSpace();
    if (key === '' || text[at] !== '=') throw new TypeError('primary_conninfo: "=" expected');
    at++;
    skipSpace();
    const quoted = text[at] === "'";
    if (quoted) at++;
    let value = '';
    for (;;) {
      const char = text[at];
      if (char === undefined) {
        if (quoted) throw new TypeError('primary_conninfo: unterminated quoted value');
        break;
      }
      if (quoted ? char === "'" : /\s/.test(char)) break;
      if (char === '\\' && at + 1 < text.length) at++;
      value += text[at]!;
      at++;
    }
    if (quoted) at++;
    out.set(key, value);
  }
  return out;
}

function parseUri(text: string): Conninfo {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text);
  if (match === null) throw new TypeError('primary_conninfo: not a connection URI');
  const out = new Map<string, string>();
  const [, account, hosts = '', database, options] = match;
  if (account !== undefined) {
    const colon = account.indexOf(':');
    const user = colon < 0 ? account : account.slice(0, colon);
    if (user !== '') out.set('user', decodeURIComponent(user));
    if (colon >= 0) out.set('password', decodeURIComponent(account.slice(colon + 1)));
  }
  if (hosts !== '') {
    const names: string[] = [];
    const ports: string[] = [];
    for (const host of hosts.split(',')) {
      const parts = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(host);
      if (parts === null) throw new TypeError('primary_conninfo: not a connection URI');
      names.push(decodeURIComponent(parts[1]!.replace(/^\[|\]$/g, '')));
      ports.push(parts[2] ?? '');
    }
    out.set('host', names.join(','));
    if (ports.some((port) => port !== '')) out.set('port', ports.join(','));
  }
  if (database !== undefined && database !== '') out.set('dbname', decodeURIComponent(database));
  for (const option of (options ?? '').split('&')) {
    if (option === '') continue;
    const equals = option.indexOf('=');
    if (equals < 0) throw new TypeError('primary_conninfo: not a connection URI');
    out.set(decodeURIComponent(option.slice(0, equals)), decodeURIComponent(option.slice(equals + 1)));
  }
  return out;
}

export function formatConninfo(conninfo: Conninfo): string {
  return [...conninfo]
    .map(([key, value]) =>
      /^[\w./:-]+$/.test(value) ? `${key}=${value}` : `${key}='${value.replace(/[\\']/g, '\\$&')}'`,
    )
    .join(' ');
}

/** The same account and options, another server. */
export function repoint(text: string, host: string, port: number | null): string {
  const out = new Map(parseConninfo(text));
  out.delete('hostaddr');
  out.set('host', host);
  if (port === null) out.delete('port');
  else out.set('port', String(port));
  return formatConninfo(out);
}

/** Null: none is named, or the standby has been stopped by us. */
export function upstreamOf(text: string): { host: string; port: number } | null {
  let conninfo: Conninfo;
  try {
    conninfo = parseConninfo(text);
  } catch {
    return null;
  }
  const host = conninfo.get('host') ?? conninfo.get('hostaddr');
  if (host === undefined || host === '' || host === NOWHERE) return null;
  return { host, port: Number(conninfo.get('port') ?? 5432) };
}
