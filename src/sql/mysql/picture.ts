// What is known of the database's stored functions, views and sequences, looked up by name; it knows no SQL.

/** A lock; or a setting that MariaDB does not report, for good. */
export type Leaving = 'session-lock' | 'untracked-setting';

export interface MysqlCatalog {
  /** `schema` null: the name is not qualified, every function of that name counts. */
  readsOnly(schema: string | null, name: string): boolean;
  hasFunction(name: string): boolean;
  /** Names of views (in any schema) that call a function which may write, or that cannot be looked into. */
  readonly impureViews: ReadonlySet<string>;
  readonly sequences: ReadonlySet<string>;
  /** Names of programs that leave something in the session, and of tables a write to which does. */
  readonly leavingPrograms: ReadonlyMap<string, Leaving>;
  readonly leavingTables: ReadonlyMap<string, Leaving>;
  /** For the log: what was found. */
  readonly counts: { readonly functions: number; readonly readOnly: number; readonly views: number };
}

/** The picture while the functions that read are still being found out. */
export class CatalogPicture implements MysqlCatalog {
  readonly functions = new Map<string, boolean>();
  /** By name alone: all of them only read. */
  readonly #byName = new Map<string, string[]>();
  readonly impureViews = new Set<string>();
  readonly sequences = new Set<string>();
  readonly leavingPrograms = new Map<string, Leaving>();
  readonly leavingTables = new Map<string, Leaving>();
  counts = { functions: 0, readOnly: 0, views: 0 };

  add(schema: string, name: string, reads: boolean): void {
    const full = `${schema}.${name}`;
    this.functions.set(full, reads);
    const alike = this.#byName.get(name);
    if (alike === undefined) this.#byName.set(name, [full]);
    else if (!alike.includes(full)) alike.push(full);
  }

  readsOnly(schema: string | null, name: string): boolean {
    if (schema !== null) return this.functions.get(`${schema}.${name}`) === true;
    const alike = this.#byName.get(name);
    return alike?.every((full) => this.functions.get(full) === true) ?? false;
  }

  hasFunction(name: string): boolean {
    return this.#byName.has(name);
  }

  count(views: number): void {
    let readOnly = 0;
    for (const reads of this.functions.values()) if (reads) readOnly++;
    this.counts = { functions: this.functions.size, readOnly, views };
  }
}
