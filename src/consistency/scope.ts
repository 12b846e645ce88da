// Whose writes a read must see: the client connection's, or those of all connections that have a key in common.
// Pure; it knows no session and no store.

/** As the configuration has it; `comment`: only what a leading comment or a rule names. */
export type ConsistencyScope =
  | 'connection'
  | 'user'
  | 'database'
  | 'comment'
  | { readonly startupParameter: string }
  | { readonly connectionAttribute: string };

export interface ScopedLogin {
  readonly user: string;
  readonly database: string;
  /** Startup parameters; connection attributes. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** A longer name is cut: two that differ behind it share what they see, which is only ever too strict. */
const MAX_NAME_LENGTH = 512;

/** The key of all units of a client that name none themselves; null: its connection is a session of its own. */
export function keyOfLogin(scope: ConsistencyScope, login: ScopedLogin): string | null {
  switch (scope) {
    case 'connection':
    case 'comment':
      return null;
    case 'user':
      return key('user', login.user);
    case 'database':
      return key('database', login.database);
    default: {
      const name = 'startupParameter' in scope ? scope.startupParameter : scope.connectionAttribute;
      const value = login.attributes.get(name);
      return value === undefined || value === '' ? null : key('attribute', value);
    }
  }
}

/** What a leading comment, or a rule, names for one unit; null: nothing. */
export function keyNamed(name: string | null | undefined): string | null {
  return name == null || name === '' ? null : key('session', name);
}

function key(kind: string, name: string): string {
  return `${kind}:${name.slice(0, MAX_NAME_LENGTH)}`;
}
