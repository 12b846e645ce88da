// A BEGIN that no server has been told of yet: the client is answered at once, and it leaves with the first statement.
// It knows no connection.

import type { ServerError } from '../protocol/unit.js';
import type { Classified, StatementClass } from '../sql/statement.js';
import { isPlannedUnit } from './auto-prepare-session.js';
import type { Step } from './run.js';
import type { PostgresUnit } from './unit.js';
import { buildBind, buildClose, buildExecute, buildParse } from './wire/frontend.js';

/** What follows in one message with it is copied. */
const MAX_JOINED_BYTES = 65_536;
/** BEGIN forms are few; a flood of them is not worth remembering. */
const MAX_KNOWN = 64;

const MODE =
  '(?:isolation level (?:serializable|repeatable read|read committed|read uncommitted)|read write|(?:not )?deferrable)';
/** Of the shape: lower case, one space between words. */
const BEGIN = new RegExp(
  `^(?:begin(?: transaction| work)?|start transaction)(?: ${MODE}(?: ?,? ?${MODE})*)?$`,
  'i',
);

const DROPPED: readonly Step[] = (['parse', 'bind', 'execute', 'close'] as const).map((kind) => ({
  kind,
  verb: 'drop',
  text: null,
  alias: null,
  completed: null,
  failed: null,
}));

export class HeldBegin {
  readonly sql: string;
  /** What the client is answered. */
  readonly tag: string;
  /** Characters, and bytes, that stand before a statement that is sent in one text with it. */
  readonly length: number;
  /** In a batch an error of it makes the server skip the rest, as an error of a statement does. */
  readonly batch: Buffer;

  constructor(sql: string, tag: string) {
    this.sql = sql;
    this.tag = tag;
    this.length = sql.length + 1;
    // What names the unnamed portal behind it does not mean this one.
    const portal = [buildBind('', ''), buildExecute('', 0), buildClose('portal', '')];
    this.batch = Buffer.concat([buildParse('', sql), ...portal]);
  }

  static readonly #known = new Map<string, HeldBegin | null>();

  /**
   * Null: it goes to the server by itself. What runs on a replica is one of them: it is known by its BEGIN alone.
   * A text that the server might refuse has to be refused now.
   */
  static of({ statement, hint, shape }: Classified): HeldBegin | null {
    const { transaction, statements } = statement;
    if (transaction?.kind !== 'begin' || statements !== 1 || transaction.readOnly === true || hint !== null)
      return null;
    let known = HeldBegin.#known.get(shape);
    if (known === undefined) {
      known = BEGIN.test(shape) ? new HeldBegin(shape, statement.verb) : null;
      if (HeldBegin.#known.size < MAX_KNOWN) HeldBegin.#known.set(shape, known);
    }
    return known;
  }

  /**
   * Whether the unit may be sent together with it, so that the server does either both or nothing. Everything that is more than
   * a query or a change of rows waits until the server has answered BEGIN.
   */
  joins(unit: PostgresUnit): boolean {
    return !unit.open && unit.bytes <= MAX_JOINED_BYTES && isPlannedUnit(unit);
  }

  /** One text: what does not parse, or is cancelled, leaves no half of it behind. */
  query(message: Buffer): Buffer {
    const text = message.subarray(5);
    const joined = Buffer.allocUnsafe(5 + this.length + text.length);
    joined[0] = message[0]!;
    joined.writeInt32BE(joined.length - 1, 1);
    joined.write(`${this.sql};`, 5, 'latin1');
    joined.set(text, 5 + this.length);
    return joined;
  }

  get steps(): readonly Step[] {
    return DROPPED;
  }
}

/** What the server would say to an end of the transaction that it knows nothing of; null: it has to be asked. */
export function tagOfEnd({ transaction, statements, verb }: StatementClass): string | null {
  const isEnd = transaction?.kind === 'commit' || transaction?.kind === 'rollback';
  // PREPARE TRANSACTION is a kind of COMMIT too.
  const isPlain = isEnd && !transaction.chain && (verb === 'COMMIT' || verb === 'ROLLBACK');
  return isPlain && statements === 1 ? verb : null;
}

/** A BEGIN of which the server knows nothing goes with the unit, or, where that could be misunderstood, before it. */
export function beginWith(
  unit: PostgresUnit,
  server: { own(sql: string, done: (error: ServerError | null) => void): void },
  go: (begin: HeldBegin | null) => void,
  refused: (error: ServerError) => void,
): void {
  const { begin } = unit;
  if (begin === null || begin.joins(unit)) {
    go(begin);
    return;
  }
  server.own(begin.sql, (error) => {
    if (error === null) go(null);
    else refused(error);
  });
}
