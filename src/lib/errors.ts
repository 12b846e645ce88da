// The one table of errors that Scheelite itself gives: code, message, SQLSTATE, errno, retryable; the reference is generated from it.
// It knows no protocol: how an error is put on the wire is the codecs' business.

interface ErrorRow {
  /** What the client reads; `{name}` is replaced from the error's details. */
  readonly message: string;
  /** PostgreSQL appendix A, or SQL:2016 class. */
  readonly sqlState: string;
  /** MySQL server or client error number. */
  readonly errno: number;
  /** Whether the same unit may succeed if the application sends it again. */
  readonly retryable: boolean;
  /** Whether the client connection ends with it. */
  readonly fatal: boolean;
}

const row = (
  message: string,
  sqlState: string,
  errno: number,
  options: { retryable?: boolean; fatal?: boolean } = {},
): ErrorRow => ({
  message,
  sqlState,
  errno,
  retryable: options.retryable ?? false,
  fatal: options.fatal ?? false,
});

export const ERRORS = {
  'protocol-violation': row('protocol violation: {detail}', '08P01', 1835, { fatal: true }),
  'message-too-large': row('message of {bytes} bytes exceeds the limit of {limit} bytes', '54000', 1153, {
    fatal: true,
  }),
  'unsupported-protocol-version': row('unsupported frontend protocol {version}', '0A000', 1251, {
    fatal: true,
  }),
  'tls-not-supported': row('this listener does not offer TLS', '08004', 3159, { fatal: true }),
  'login-timeout': row('login did not finish within {ms} ms', '08006', 1159, { fatal: true }),
  'authentication-failed': row('password authentication failed for user "{user}"', '28P01', 1045, {
    fatal: true,
  }),
  'authentication-unavailable': row(
    'the password of user "{user}" cannot be checked now: {detail}',
    '57P03',
    1045,
    {
      retryable: true,
      fatal: true,
    },
  ),
  'unknown-database': row('{detail}', '3D000', 1049, { fatal: true }),
  'too-many-clients': row('too many client connections (limit {limit})', '53300', 1040, {
    retryable: true,
    fatal: true,
  }),
  'pool-queue-full': row(
    'too many units wait for a server connection of node {node} (limit {limit})',
    '53300',
    1040,
    {
      retryable: true,
    },
  ),
  'pool-timeout': row('no server connection of node {node} became free within {ms} ms', '53300', 1040, {
    retryable: true,
  }),
  'connect-failed': row('cannot connect to node {node}: {detail}', '08001', 2003, { retryable: true }),
  'node-full': row('node {node} takes no more connections: {detail}', '53300', 1040, { retryable: true }),
  'server-login-failed': row('node {node} refused the login of user "{user}": {detail}', '28000', 1045, {}),
  /** In its words, and with its codes. */
  'login-refused': row('{detail}', '28000', 1045),
  'no-primary': row('no primary is available{detail}', '57P03', 1290, { retryable: true }),
  'no-node': row('no node of cluster {cluster} can serve this statement: {detail}', '57P03', 2003, {
    retryable: true,
  }),
  'server-lost': row(
    'the server connection to node {node} was lost before it answered: {detail}',
    '08006',
    2013,
    {
      retryable: true,
    },
  ),
  'outcome-unknown': row(
    'the server connection to node {node} was lost while a write was under way; its outcome is unknown: {detail}',
    '08007',
    2013,
  ),
  'transaction-lost': row(
    'the transaction was lost with its server connection to node {node}: {detail}; roll back and start again',
    '40001',
    1213,
    { retryable: true },
  ),
  'transaction-aborted': row(
    'current transaction is aborted, commands ignored until end of transaction block',
    '25P02',
    1213,
  ),
  'pinned-state-lost': row(
    'session state ({reasons}) was lost with its server connection to node {node}: {detail}',
    '08006',
    2013,
    { fatal: true },
  ),
  'shutting-down': row('terminating connection: the proxy is shutting down', '57P01', 1053, {
    retryable: true,
    fatal: true,
  }),
  'server-garbage': row('node {node} broke the protocol: {detail}', '08P01', 2027, { retryable: true }),
  'unsupported-feature': row('{feature} is not supported by the proxy', '0A000', 1235),
  'unknown-setting': row('unrecognized configuration parameter "{name}"', '42704', 1193),
  'invalid-setting': row(
    'invalid value for parameter "{name}": "{value}"; use one of {values}',
    '22023',
    1231,
  ),
  'unknown-prepared-statement': row('prepared statement "{name}" does not exist', '26000', 1243),
  'duplicate-prepared-statement': row('prepared statement "{name}" already exists', '42P05', 1295),
  'too-many-prepared-statements': row(
    'the client holds more than {limit} prepared statements',
    '53400',
    1461,
  ),
  'statement-timeout': row('canceling statement due to statement timeout', '57014', 3024),
  cancelled: row('canceling statement due to user request', '57014', 1317),
  'last-statement-gone': row(
    'the server connection of the last statement has been used by another client since; what is asked of it is gone',
    '55000',
    1235,
  ),
  'database-denied': row('{detail}', '42000', 1044, { fatal: true }),
  'denied-by-rule': row('{detail}', '42501', 1227),
  'internal-error': row('internal error in the proxy: {detail}', 'XX000', 1105, { fatal: true }),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

const REFUSED_LOGINS: ReadonlySet<ErrorCode> = new Set([
  'server-login-failed',
  'login-refused',
  'unknown-database',
  'database-denied',
]);

/** An error of the proxy's own, ready for either protocol. */
export class ProxyError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string | number>>;
  override readonly name = 'ProxyError';

  constructor(code: ErrorCode, details: Record<string, string | number> = {}) {
    super(ERRORS[code].message.replace(/\{(\w+)\}/g, (_, key: string) => String(details[key] ?? '')));
    this.code = code;
    this.details = details;
  }

  /** Five characters, for ErrorResponse field C and the MySQL ERR packet. */
  get sqlState(): string {
    return String(this.details.sqlState ?? ERRORS[this.code].sqlState);
  }

  /** For the MySQL ERR packet. */
  get errno(): number {
    return Number(this.details.errno ?? ERRORS[this.code].errno);
  }

  /** A node does not let this user in, or not into this database; as it said. Others may, and who is in may stay. */
  get isRefusedLogin(): boolean {
    return REFUSED_LOGINS.has(this.code);
  }

  get isRetryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get isFatal(): boolean {
    return ERRORS[this.code].fatal;
  }
}

/** The text of anything that was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(describeError).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** What is no error of ours is a bug of ours: `bug` makes it known, and an error that a client can be told. */
export function asProxyError(cause: unknown, bug: (cause: unknown) => ProxyError): ProxyError {
  return cause instanceof ProxyError ? cause : bug(cause);
}

/** `cause`: why what a node has sent cannot be read. */
export function serverGarbage(node: string, cause: ProxyError): ProxyError {
  return new ProxyError('server-garbage', { node, detail: cause.details.detail ?? cause.message });
}

/** Why there is no server connection to a node: what says so itself, anything else in its own words. */
export function connectFailure(cause: unknown, node: string): ProxyError {
  return cause instanceof ProxyError
    ? cause
    : new ProxyError('connect-failed', { node, detail: describeError(cause) });
}
