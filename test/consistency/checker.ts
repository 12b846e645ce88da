// Decides a history: what each session had to see at each read, by its own writes and by what it had seen, and for `strong` by
// what anybody had been told before. It is independent of the proxy, and knows how servers replicate only in this: there is one
// order of commits, and every node shows a prefix of it.
//
// So a session that has seen a value, or written one, is owed everything that was committed before it: of the same key, what
// lies below it; of any key, what had been acknowledged, or had been seen by anybody, before the write of that value began.
// That is read-your-writes, monotonic reads, monotonic writes and writes-follow-reads in one rule; which of them a violation is
// called depends on who wrote what. A write of unknown outcome is owed only from when somebody has seen it.

import { Committed } from './committed.js';
import { Facts, NOTHING, OUTCOME, STEP } from './facts.js';
import type { History } from './history.js';

export const KINDS = [
  'read-your-writes',
  'monotonic-reads',
  'monotonic-writes',
  'writes-follow-reads',
  'real-time',
  'fork',
  'fabricated',
] as const;
export type ViolationKind = (typeof KINDS)[number];

export interface Violation {
  readonly kind: ViolationKind;
  /** Of the operation, and its step, both from 0 in the order of ends. */
  readonly op: number;
  readonly step: number;
  readonly what: string;
  /** The operations that it contradicts, oldest first. */
  readonly because: readonly number[];
}

export interface Verdict {
  readonly operations: number;
  readonly reads: number;
  readonly writes: number;
  readonly unknown: number;
  readonly sessions: number;
  readonly counts: Readonly<Record<ViolationKind, number>>;
  readonly total: number;
  /** The first ones. */
  readonly violations: readonly Violation[];
  readonly facts: Facts;
}

const MOST_TOLD = 100;
/** Beyond so many, their names are guessed by what is known without a search. */
const MOST_SEARCHED = 2_000;

/** What a session is owed of a key. */
interface Floor {
  readonly depth: number;
  readonly epoch: number;
  readonly op: number;
}

interface Session {
  /** It has state that has everything committed before this time; by the operation `op`, which saw or wrote `value`. */
  time: number;
  op: number;
  value: number;
  readonly floors: Map<number, Floor>;
  left: number;
}

export function check(history: History): Verdict {
  return new Check(history).verdict();
}

class Check {
  readonly #facts: Facts;
  readonly #committed: Committed;
  readonly #sessions: (Session | null)[] = [];
  readonly #counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<ViolationKind, number>;
  readonly #violations: Violation[] = [];
  #total = 0;
  #opsOfSession: number[][] | null = null;

  constructor(history: History) {
    this.#facts = new Facts(history);
    this.#committed = new Committed(this.#facts);
  }

  verdict(): Verdict {
    const facts = this.#facts;
    for (const { kind, ...about } of facts.contradictions) this.#tell({ kind, ...about });
    this.#total += facts.contradictionCount - facts.contradictions.length;
    const left: number[] = [];
    for (const session of facts.session) left[session] = (left[session] ?? 0) + 1;
    // Operations of one session may overlap: an operation is owed what had ended when it began.
    const byStart = facts.start.map((_, op) => op).sort((a, b) => facts.start[a]! - facts.start[b]!);
    let ended = 0;
    for (const op of byStart) {
      while (ended < facts.count && facts.end[ended]! <= facts.start[op]!) this.#merge(ended++, left);
      this.#judge(op);
    }
    const { reads, writes, unknown } = facts;
    return {
      ...{ operations: facts.count, reads, writes, unknown, sessions: facts.sessions.list.length },
      ...{ counts: this.#counts, total: this.#total, violations: this.#violations, facts },
    };
  }

  #sessionOf(op: number, left: readonly number[]): Session {
    const id = this.#facts.session[op]!;
    let session = this.#sessions[id] ?? null;
    if (session === null) {
      session = {
        time: Number.NEGATIVE_INFINITY,
        op: -1,
        value: NOTHING,
        floors: new Map(),
        left: left[id]!,
      };
      this.#sessions[id] = session;
    }
    return session;
  }

  /** What an operation that has ended leaves its session owed. */
  #merge(op: number, left: readonly number[]): void {
    const facts = this.#facts;
    const session = this.#sessionOf(op, left);
    if (--session.left === 0) {
      this.#sessions[facts.session[op]!] = null;
      return;
    }
    const epoch = facts.low[op]!;
    for (let step = facts.firstStep[op]!; step < facts.firstStep[op + 1]!; step++) {
      const key = facts.stepKey[step]!;
      const value = facts.stepValue[step]!;
      if (facts.stepKind[step] === STEP.write) {
        if (facts.outcome[op] !== OUTCOME.ok) continue;
        const start = facts.start[op]!;
        const known = facts.depth[value]!;
        this.#raise(
          session,
          key,
          known > 0 ? known : this.#committed.depthAt(key, start, epoch) + 1,
          epoch,
          op,
        );
        if (start > session.time) Object.assign(session, { time: start, op, value });
      } else if (facts.stepKind[step] === STEP.read && value !== NOTHING) {
        this.#raise(session, key, facts.stepDepth[step]!, epoch, op);
        const time = facts.latestStart[value]!;
        if (time > session.time) Object.assign(session, { time, op, value });
      }
    }
  }

  #raise(session: Session, key: number, depth: number, epoch: number, op: number): void {
    const floor = session.floors.get(key);
    // After a failover less may be there; what it was owed of the old primary stands until it has seen more of the new.
    if (floor !== undefined && this.#committed.carry(key, floor.depth, floor.epoch, epoch) >= depth) return;
    session.floors.set(key, { depth, epoch, op });
  }

  #judge(op: number): void {
    const facts = this.#facts;
    if (facts.level[op] === 'eventual') return;
    const first = facts.firstStep[op]!;
    const last = facts.firstStep[op + 1]!;
    const session = this.#sessions[facts.session[op]!] ?? null;
    /** Rises with what the transaction itself has seen. */
    let inner = Number.NEGATIVE_INFINITY;
    let innerValue = NOTHING;
    for (let step = first; step < last; step++) {
      if (facts.stepKind[step] !== STEP.read) continue;
      const violation =
        (session === null ? null : (this.#byKey(op, step, session) ?? this.#byTime(op, step, session))) ??
        this.#bySelf(op, step, first, inner, innerValue) ??
        (facts.level[op] === 'strong' ? this.#byClock(op, step) : null);
      if (violation !== null) this.#tell(violation);
      const value = facts.stepValue[step]!;
      if (value !== NOTHING && facts.latestStart[value]! > inner) {
        inner = facts.latestStart[value]!;
        innerValue = value;
      }
    }
  }

  /** Of the same key, it had written or seen more. */
  #byKey(op: number, step: number, { floors }: Session): Violation | null {
    const facts = this.#facts;
    const key = facts.stepKey[step]!;
    const floor = floors.get(key);
    if (floor === undefined) return null;
    const depth = this.#committed.carry(key, floor.depth, floor.epoch, facts.high[op]!);
    if (facts.stepDepth[step]! >= depth) return null;
    const own = this.#writes(floor.op, key);
    return {
      kind: own ? 'read-your-writes' : 'monotonic-reads',
      ...{ op, step },
      what: `depth ${facts.stepDepth[step]} of ${facts.keys.list[key]}, of which its session ${own ? 'had written' : 'had seen'} ${depth}`,
      because: [floor.op],
    };
  }

  /** It has state from which something is missing that was committed earlier. */
  #byTime(op: number, step: number, session: Session): Violation | null {
    return this.#missing(op, step, session.time, (depth, name) => {
      const facts = this.#facts;
      const writer = facts.writer[session.value] ?? -1;
      const witness = this.#chosenWitness(op, step, session, writer);
      const seen = facts.values.list[session.value];
      const doing = session.op === writer ? 'written' : 'seen';
      return {
        kind: witness.kind,
        ...{ op, step },
        what: `depth ${facts.stepDepth[step]} of ${name}, which was ${depth} deep before the write began of ${seen}, which its session had ${doing}`,
        because: sortedPlaces([witness.op, writer, session.op]),
      };
    });
  }

  /** The same within one transaction. */
  #bySelf(op: number, step: number, first: number, time: number, value: number): Violation | null {
    const facts = this.#facts;
    const key = facts.stepKey[step]!;
    for (let before = first; before < step; before++) {
      if (facts.stepKind[before] !== STEP.read || facts.stepKey[before] !== key) continue;
      if (facts.stepDepth[before]! <= facts.stepDepth[step]! || !facts.isCertain(op)) continue;
      const what = `depth ${facts.stepDepth[step]} of ${facts.keys.list[key]}, of which the same transaction had seen ${facts.stepDepth[before]}`;
      return { kind: 'monotonic-reads', op, step, what, because: [] };
    }
    return this.#missing(op, step, time, (depth, name) => ({
      kind: 'monotonic-reads',
      ...{ op, step },
      what: `depth ${facts.stepDepth[step]} of ${name}, which was ${depth} deep before the write began of ${facts.values.list[value]}, which the same transaction had seen`,
      because: sortedPlaces([facts.writer[value] ?? -1]),
    }));
  }

  /** Somebody had been told of it before this read began. */
  #byClock(op: number, step: number): Violation | null {
    return this.#missing(op, step, this.#facts.start[op]!, (depth, name, witness) => ({
      kind: 'real-time',
      ...{ op, step },
      what: `depth ${this.#facts.stepDepth[step]} of ${name}, which was ${depth} deep before the read began`,
      because: sortedPlaces([witness]),
    }));
  }

  #missing(
    op: number,
    step: number,
    time: number,
    tell: (depth: number, name: string, witness: number) => Violation,
  ): Violation | null {
    if (time === Number.NEGATIVE_INFINITY) return null;
    const facts = this.#facts;
    const key = facts.stepKey[step]!;
    const epoch = facts.high[op]!;
    const seen = facts.stepDepth[step]!;
    const depth = this.#committed.depthAt(key, time, epoch);
    if (seen >= depth) return null;
    const [witness = -1] = this.#committed.witnesses(key, seen, time, epoch, 1);
    return tell(depth, facts.keys.list[key]!, witness);
  }

  /** Of all that is missing, what tells the most, and what that is called. */
  #chosenWitness(
    op: number,
    step: number,
    session: Session,
    writer: number,
  ): { readonly op: number; readonly kind: ViolationKind } {
    const facts = this.#facts;
    const key = facts.stepKey[step]!;
    const seen = facts.stepDepth[step]!;
    const most = this.#total < MOST_SEARCHED ? 200 : 1;
    const missing = this.#committed.witnesses(key, seen, session.time, facts.high[op]!, most);
    const first = missing[0] ?? -1;
    if (writer === session.op || writer === -1) return { op: first, kind: 'read-your-writes' };
    const author = facts.session[writer]!;
    if (author === facts.session[op]) return { op: first, kind: 'read-your-writes' };
    for (const each of missing) {
      if (facts.session[each] !== author || facts.end[each]! > facts.start[writer]!) continue;
      return { op: each, kind: this.#writes(each, key) ? 'monotonic-writes' : 'writes-follow-reads' };
    }
    if (this.#total < MOST_SEARCHED) {
      // The first to have proved it may have been another; the author may have read it later, but before that write.
      const read = this.#readBefore(author, writer, key, seen);
      if (read >= 0) return { op: read, kind: 'writes-follow-reads' };
    }
    return { op: first, kind: 'monotonic-reads' };
  }

  #readBefore(author: number, writer: number, key: number, above: number): number {
    const facts = this.#facts;
    if (this.#opsOfSession === null) {
      const lists: number[][] = [];
      facts.session.forEach((session, op) => {
        lists[session] ??= [];
        lists[session].push(op);
      });
      this.#opsOfSession = lists;
    }
    const list = this.#opsOfSession[author] ?? [];
    for (const op of list) {
      if (facts.end[op]! > facts.start[writer]!) break;
      for (let step = facts.firstStep[op]!; step < facts.firstStep[op + 1]!; step++) {
        if (facts.stepKind[step] !== STEP.read || facts.stepKey[step] !== key) continue;
        if (facts.stepDepth[step]! > above) return op;
      }
    }
    return -1;
  }

  #writes(op: number, key: number): boolean {
    const facts = this.#facts;
    for (let step = facts.firstStep[op]!; step < facts.firstStep[op + 1]!; step++)
      if (facts.stepKind[step] === STEP.write && facts.stepKey[step] === key) return true;
    return false;
  }

  #tell(violation: Violation): void {
    this.#total++;
    this.#counts[violation.kind]++;
    if (this.#violations.length < MOST_TOLD) this.#violations.push(violation);
  }
}

function sortedPlaces(ops: readonly number[]): number[] {
  return [...new Set(ops)].filter((op) => op >= 0).sort((a, b) => a - b);
}
