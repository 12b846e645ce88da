// The units of a server connection that leave with one Sync: how many have been gathered for the next one, and the answers of those
// of the one that is being answered, which wait for its end. It knows no socket.

import type { Expectation } from './expectation.js';
import { IsolationCheck } from './isolation-check.js';
import type { Run } from './run.js';
import { mayFailAtCommit, type TrackedState } from './tracked-state.js';

/** Units that could be one of a group and are not, so that what they take is known. */
const UNGROUPED_EVERY = 32;
/** Answers of a group that are kept: more than those of kinds that may share come to. What is longer runs by itself. */
const MAX_KEPT_BYTES = 2 * 1024 * 1024;

export class SyncGroup {
  readonly isolation = new IsolationCheck();
  #gathered = 0;
  /** Of those that might be one of a group, since start. */
  #groupable = 0;
  /** Messages of one are being written: no Sync may come between them. */
  #isInMember = false;
  /** Some of them have left. */
  #leftEarly = false;
  #answered: Expectation[] = [];
  #keptBytes = 0;

  admits(maxGroup: number, state: TrackedState): boolean {
    if (maxGroup <= 1 || mayFailAtCommit(state)) return false;
    return this.isolation.mayGroup && ++this.#groupable % UNGROUPED_EVERY !== 0;
  }

  beginMember(): void {
    this.#gathered++;
    this.#isInMember = true;
  }

  /** Of this one all is written. True: nobody else joins. */
  endMember(maxGroup: number): boolean {
    this.#isInMember = false;
    return this.#gathered >= maxGroup || this.#leftEarly;
  }

  /** How many a Sync has to be written behind now. */
  close(): number {
    const size = this.#gathered;
    if (size === 0) return 0;
    if (this.#isInMember) {
      this.#leftEarly = true;
      return 0;
    }
    this.#leftEarly = false;
    this.#gathered = 0;
    return size;
  }

  /** Units that have all their replies but ReadyForQuery, and get none before that. */
  get answered(): readonly Expectation[] {
    return this.#answered;
  }

  keep(member: Expectation, slices: Buffer[]): void {
    member.kept = slices;
    this.#keptBytes += member.replyBytes;
    this.#answered.push(member);
  }

  /** With so many bytes of the one that is being answered. */
  isTooLong(replyBytes: number): boolean {
    return this.#keptBytes + replyBytes > MAX_KEPT_BYTES;
  }

  takeAnswered(): readonly Expectation[] {
    const answered = this.#answered;
    this.#answered = [];
    this.#keptBytes = 0;
    return answered;
  }

  /** Nobody waits for its answer any more. */
  mute(run: Run): void {
    const member = this.#answered.find((each) => each.run === run);
    if (member !== undefined) member.muted = true;
  }

  /** The connection has ended. */
  forgetGathered(): void {
    this.#gathered = 0;
  }
}
