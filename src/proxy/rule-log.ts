// Lines in the log for statements whose rule wants one: the shape, never the literals, and no more lines than people read.
// It decides nothing.

import { monotonicMs } from '../lib/clock.js';
import type { RuleLogLevel } from '../routing/policy.js';
import type { Log } from '../telemetry/log.js';

const MAX_LINES_A_SECOND = 50;
const MAX_SHAPE_CHARACTERS = 500;

export interface RuledUnit {
  readonly level: RuleLogLevel;
  readonly rule: string | null;
  readonly user: string;
  readonly shape: string;
  /** Null: it was refused. */
  readonly node: string | null;
}

export class RuleLog {
  readonly #log: Log;
  #second = 0;
  #lines = 0;
  #left = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  note({ level, rule, user, shape, node }: RuledUnit): void {
    const second = Math.floor(monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
    }
    if (this.#lines >= MAX_LINES_A_SECOND) {
      this.#left++;
      return;
    }
    this.#lines++;
    const notLogged = this.#left;
    this.#left = 0;
    const cut =
      shape.length > MAX_SHAPE_CHARACTERS ? `${shape.slice(0, MAX_SHAPE_CHARACTERS - 3)}...` : shape;
    const fields = { rule, user, shape: cut, ...(notLogged === 0 ? {} : { notLogged }) };
    if (node === null) this.#log[level](fields, 'a statement was denied by a rule');
    else this.#log[level]({ ...fields, node }, 'a statement matched a rule');
  }
}
