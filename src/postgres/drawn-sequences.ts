// What currval() and lastval() tell is kept by the server connection that drew last: whose it is there, and which statements of a
// database are followed by the question. It writes nothing; a server connection's values are discarded by make-ready.ts.

import type { PostgresServerConnection } from './server-connection.js';
import type { PostgresUnit } from './unit.js';

/** Of each client so many of its last statements that may have drawn are remembered. */
const MAX_RECENT = 4;
/** Beyond, the shapes that were found first are forgotten: one refused question finds them again. */
const MAX_SHAPES = 1000;

/** They draw by a trigger if at all, which is not what clients ask about. */
const SELDOM: ReadonlySet<string> = new Set([
  'UPDATE',
  'DELETE',
  'TRUNCATE',
  'VACUUM',
  'ANALYZE',
  'LOCK',
  '',
]);

/** Of one database: behind which statements clients have asked what was drawn. */
export class AskedSequences {
  readonly #shapes = new Set<string>();

  /** Nobody has asked: nothing has to be done for those who never will. */
  get isNobody(): boolean {
    return this.#shapes.size === 0;
  }

  add(shapes: Iterable<string>): void {
    // One who asks without having drawn counts too.
    this.#shapes.add('');
    for (const shape of shapes) this.#shapes.add(shape);
    for (const shape of this.#shapes) {
      if (this.#shapes.size <= MAX_SHAPES) return;
      if (shape !== '') this.#shapes.delete(shape);
    }
  }

  has(shape: string): boolean {
    return shape !== '' && this.#shapes.has(shape);
  }
}

/** Whose values a server connection has; null: it has none. Nobody's: several have drawn there. */
export type Drawer = DrawnSequences | 'several' | null;

/** Of one client. */
export class DrawnSequences {
  /** Where it drew last, for all that is known. */
  #on: PostgresServerConnection | null = null;
  readonly #recent = new Set<string>();

  /** Where this unit finds what the client drew; null: it does not ask. */
  askedOn(unit: PostgresUnit): PostgresServerConnection | null {
    return unit.statement.pin === 'sequence-state' ? this.#on : null;
  }

  /**
   * Before a unit that may draw, or ask, is written there. True: what others have drawn there must be discarded first; `discarded`
   * tells when it is.
   */
  comesTo(
    server: PostgresServerConnection,
    unit: PostgresUnit,
    asked: AskedSequences,
    isDenied: boolean,
  ): boolean {
    // In a failed transaction nothing can be discarded, and nothing be drawn or asked.
    if (!unit.mayDraw || isDenied || server.transaction === 'failed') return false;
    const asks = unit.statement.pin === 'sequence-state';
    if (asks) asked.add(this.#recent);
    const isOwn = server.drawer === this && this.#on === server;
    if (isOwn || (server.drawer === null && !asks)) {
      this.#drawsOn(server, unit, this);
      return false;
    }
    // Values of its own that are not the last ones it drew are no answer either.
    if (asks || !asked.isNobody) return true;
    this.#drawsOn(server, unit, 'several');
    return false;
  }

  discarded(server: PostgresServerConnection, unit: PostgresUnit): void {
    this.#drawsOn(server, unit, this);
  }

  #drawsOn(server: PostgresServerConnection, { statement, shape }: PostgresUnit, drawer: Drawer): void {
    server.drawer = drawer;
    this.#on = server;
    if (statement.ddl || SELDOM.has(statement.verb) || shape === '') return;
    this.#recent.delete(shape);
    this.#recent.add(shape);
    if (this.#recent.size > MAX_RECENT) this.#recent.delete(this.#recent.values().next().value!);
  }
}
