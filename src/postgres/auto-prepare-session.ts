// Auto-prepare for one client: which of its unnamed statements run as named ones now, so that nobody can tell.
// It knows no bytes and no socket; extended-batch.ts asks it for each unnamed statement that it writes.

import { monotonicMs } from '../lib/clock.js';
import type { AutoPrepareChoice } from '../protocol/auto-prepare-choice.js';
import type { SessionHost } from '../protocol/client-connection.js';
import type { Inspection } from '../protocol/inspection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { PostgresClassifying } from '../sql/postgres/classifier.js';
import type { Classified, StatementClass } from '../sql/statement.js';
import { type AutoPrepare, MAX_AGE_MS } from './auto-prepare.js';
import { HeldText } from './auto-prepared.js';
import { foresee } from './foresight.js';
import type { HeldBegin } from './held-begin.js';
import { inspectText } from './inspect.js';
import { isPlannedStatement } from './planned.js';
import type { PreparedText } from './prepared-statements.js';
import { RecurringText } from './recurring-texts.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { PostgresUnit } from './unit.js';

/** In a session with these the same text may be about something else than the tracked settings say. */
const UNTRACKED_PINS: ReadonlySet<string> = new Set([
  'temporary-table',
  'set-config',
  'untracked-setting',
  'load',
]);
/** Where it came less than a moment ago it is worth parsing again under a name. */
const OFTEN_MS = MAX_AGE_MS / 4;
const NOTHING: readonly HeldText[] = [];

let nextEra = 1;

export interface UnitEnding {
  readonly transaction: TransactionStatus;
  readonly failed: boolean;
  /** False: what holds in the session now is only known to its server connection. */
  readonly known: boolean;
  /** Null: not known. */
  readonly serviceMs: number | null;
}

export class AutoPrepareSession {
  readonly #auto: AutoPrepare;
  readonly #host: Pick<SessionHost, 'autoPrepareThreshold'>;
  /** The session has what no tracked setting tells. */
  #isUntracked = false;
  /** The transaction has done what makes the same text another statement. */
  #isOffInTransaction = false;
  /** Of the open transaction, or of the batch outside one: what it has bound stays locked until its end. */
  #era = 0;
  /** What has come once in the era; null: nothing, and an idle client keeps nothing. */
  #seen: Set<RecurringText> | null = null;

  // Of the batch that is being written.
  #server: PostgresServerConnection | null = null;
  #onReplica = false;
  #nowMs = 0;
  /** An error can no longer be healed by running the batch again. */
  #isRestricted = false;
  #threshold = 0;
  #maxStatements = 0;
  #takes = 0;
  #timed: RecurringText | null = null;
  #timedAs: 'plain' | 'prepared' | 'parse' = 'plain';

  /** Of the last `take`: the server connection holds it already. */
  isHit = false;
  /** Of the last `take`: what has to be closed before it. */
  closes: readonly HeldText[] = NOTHING;
  /** The last step whose error is healed by running the batch again with unnamed statements; -1: none. */
  healUntil = -1;
  #isHealable = false;

  constructor(auto: AutoPrepare, host: Pick<SessionHost, 'autoPrepareThreshold'>) {
    this.#auto = auto;
    this.#host = host;
  }

  /** For an operator: counts nothing. */
  inspect(
    client: { classify(sql: Buffer): Classified; readonly stateDigest: string },
    classifier: PostgresClassifying,
    sql: Buffer,
    begin: HeldBegin | null,
  ): Inspection {
    const classified = client.classify(sql);
    const filled = begin === null ? classifier.filled(sql) : null;
    const foresight = this.#isUntracked
      ? { would: false, why: 'the session has what no tracked setting tells' }
      : foresee(
          this.#auto,
          this.#host.autoPrepareThreshold,
          classified.statement,
          sql,
          client.stateDigest,
          filled?.body ?? null,
        );
    return inspectText(classified, sql, foresight, begin);
  }

  /** The text of a Parse without a name: `body` is copied where it is not known. */
  intern(body: Buffer, settings: string): PreparedText {
    return this.#seenText(body, settings) ?? { serverName: '', body: Buffer.from(body) };
  }

  /** It has come often enough for one of the client's units, and may be kept in mind. */
  #seenText(body: Buffer, settings: string): RecurringText | null {
    const threshold = this.#host.autoPrepareThreshold;
    return Number.isFinite(threshold) ? this.#auto.texts.seen(body, settings, threshold) : null;
  }

  /** Simple queries may run as prepared statements. */
  get standsIn(): boolean {
    const { config } = this.#auto;
    return config.simpleQueries && !this.#isUntracked && Number.isFinite(this.#host.autoPrepareThreshold);
  }

  /** As of a Parse: of a simple query whose integers have become parameters. Null: it does not recur. */
  internQuery(body: Buffer, settings: string): RecurringText | null {
    return this.#seenText(body, settings);
  }

  /**
   * Before a unit is written from its beginning. Null: it is written as it came. `isAgain`: it has to be, its first run
   * is being healed. `choice`: in place of what the cluster says.
   */
  begin(
    unit: PostgresUnit,
    server: PostgresServerConnection,
    onReplica: boolean,
    isAgain: boolean,
    choice: AutoPrepareChoice,
  ): this | null {
    this.healUntil = -1;
    this.#timed = null;
    this.#takes = 0;
    const { transaction } = server;
    const isInside = transaction !== 'idle' || unit.begin !== null;
    if (transaction === 'idle') this.#newEra();
    const { config } = this.#auto;
    const isOn = choice.enabled ?? config.enabled;
    if (isAgain || !isOn || this.#isUntracked || this.#isOffInTransaction) return null;
    // What an open batch is answered cannot be kept back, and in a failed transaction nothing is parsed.
    if (unit.open || transaction === 'failed') return null;
    if (unit.kind === 'simple' ? unit.standIn === null || isInside : !unit.batch.classified.every(isPlanned))
      return null;
    this.#server = server;
    this.#onReplica = onReplica;
    this.#nowMs = monotonicMs();
    this.#isRestricted = isInside;
    this.#threshold = choice.threshold ?? config.threshold;
    this.#maxStatements = choice.maxStatements ?? config.maxStatements;
    return this;
  }

  /** The named statement in place of this unnamed one; null: none. */
  take(text: PreparedText): HeldText | null {
    if (!(text instanceof RecurringText)) return null;
    this.#timed = this.#takes++ === 0 ? text : null;
    this.#timedAs = 'plain';
    if (
      !text.isAdmitted ||
      text.comings < this.#threshold ||
      text.needsParse ||
      text.watch.isOut(this.#nowMs)
    )
      return null;
    const held = this.#server!.prepared.auto.get(text);
    const isSound = held !== undefined && !held.isDoubtful;
    // Bound before in this transaction: nobody can have changed what it stands on.
    if (isSound && held.era === this.#era) return this.#hit(held, false);
    if (this.#onReplica && this.#auto.isReplaying(this.#nowMs)) return null;
    if (this.#isRestricted) {
      // An error could not be healed: the first time it is parsed as it came.
      if (this.#seen?.has(text) === true) return this.#parse(text);
      this.#seen ??= new Set();
      this.#seen.add(text);
      return null;
    }
    if (held === undefined) return this.#parse(text);
    if (text.nextIsSample()) return null;
    const isFresh = held.generation === this.#auto.generation && this.#nowMs - held.parsedAtMs < MAX_AGE_MS;
    if (isSound && isFresh) return this.#hit(held, true);
    const cameOften = this.#nowMs - held.usedAtMs < OFTEN_MS;
    held.usedAtMs = this.#nowMs;
    return cameOften || !isSound ? this.#parse(text) : null;
  }

  #hit(held: HeldText, isHealable: boolean): HeldText {
    held.era = this.#era;
    held.usedAtMs = this.#nowMs;
    this.isHit = true;
    this.#isHealable = isHealable;
    this.#timedAs = 'prepared';
    this.closes = NOTHING;
    return held;
  }

  #parse(text: RecurringText): HeldText | null {
    const { generation, config } = this.#auto;
    const held = new HeldText(text, this.#nowMs, generation, { maxHeld: this.#maxStatements, of: config });
    const closes = this.#server!.prepared.auto.add(held, this.#nowMs - MAX_AGE_MS);
    if (closes === null) return null;
    held.era = this.#era;
    this.isHit = false;
    this.#isHealable = false;
    this.#timedAs = 'parse';
    this.closes = closes;
    this.#auto.stats.parses++;
    return held;
  }

  /** The step that binds what `take` gave. */
  bound(step: number): void {
    if (!this.isHit) return;
    this.#auto.stats.hits++;
    if (this.#isHealable) this.healUntil = step;
    this.#isHealable = false;
  }

  /** What follows in this batch runs behind something that may have been answered. */
  executed(): void {
    this.#isRestricted = true;
  }

  /** The batch that is being written shows what an unprepared run takes, or is compared with such. */
  get isSample(): boolean {
    return this.#timed !== null && (this.#timedAs !== 'prepared' || this.#timed.watch.isOnTrial);
  }

  /** Of every unit of the client, also of those that were written as they came. */
  ended(unit: PostgresUnit, { transaction, failed, known, serviceMs }: UnitEnding): void {
    const { statement } = unit;
    for (const effect of statement.session)
      if (effect.kind === 'discard' && effect.what === 'all') this.#isUntracked = false;
    if (!known || (statement.pin !== null && UNTRACKED_PINS.has(statement.pin))) this.#isUntracked = true;
    if (transaction === 'idle') this.#isOffInTransaction = false;
    else if (!isPlannedUnit(unit)) {
      // A ROLLBACK TO gives locks back.
      this.#newEra();
      if (!isHarmlessUnit(unit)) this.#isOffInTransaction = true;
    }
    const timed = this.#timed;
    this.#timed = null;
    if (timed !== null && !failed && serviceMs !== null) this.#note(timed, serviceMs);
  }

  #note(text: RecurringText, serviceMs: number): void {
    if (this.#timedAs === 'plain') text.watch.ranPlain(serviceMs);
    else if (this.#timedAs === 'prepared' && text.watch.ranPrepared(serviceMs, this.#nowMs))
      this.#auto.stats.takenOut++;
  }

  #newEra(): void {
    this.#era = nextEra++;
    this.#seen = null;
  }
}

function isPlanned({ statement }: Classified): boolean {
  return isPlannedStatement(statement);
}

export function isPlannedUnit(unit: PostgresUnit): boolean {
  return unit.kind === 'batch' ? unit.batch.classified.every(isPlanned) : isPlannedStatement(unit.statement);
}

/** Transaction control by itself changes no meaning. */
function isHarmlessUnit(unit: PostgresUnit): boolean {
  if (unit.kind === 'simple') return unit.statement.statements <= 1 && isControl(unit.statement);
  return unit.batch.classified.every(
    ({ statement }) => isControl(statement) || isPlannedStatement(statement),
  );
}

function isControl(statement: StatementClass): boolean {
  return statement.transaction !== null && statement.session.length === 0;
}
