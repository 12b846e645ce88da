// One limit over all workers: who may use how much of it, so that the sum never exceeds it and what one does not use another gets.
// It knows neither what is limited nor the channel; what it says and hears is given to it as calls.

import type { Use } from './messages.js';

interface Holder {
  /** What it was told last. */
  allowed: number;
  /** The most that it may hold until it is told more: `allowed`, or what it still has beyond that. */
  reserved: number;
  held: number;
  want: number;
  /** Of the last word to it, and of the last that it is known to have acted on. */
  seq: number;
  ackedSeq: number;
  isPolled: boolean;
  /** It has asked for more and has not been told how that ended. */
  waits: boolean;
}

export interface ShareOptions {
  readonly limit: number;
  readonly workers: number;
  /** What is held can be asked back (server connections), or only what is not held (clients). */
  readonly givesBack: boolean;
  readonly tell: (index: number, allowed: number, seq: number, final: boolean) => void;
  readonly poll: (index: number) => void;
}

export class Share {
  readonly #options: ShareOptions;
  #limit: number;
  readonly #holders: (Holder | null)[];
  /** Who is served first when there is less than one for each: the next at each new need. */
  #turn = 0;

  constructor(options: ShareOptions) {
    this.#options = options;
    this.#limit = options.limit;
    this.#holders = Array.from({ length: options.workers }, () => null);
  }

  /** A worker that holds nothing yet: it may use an even part, as far as there is that much. */
  join(index: number): { readonly allowed: number; readonly seq: number } {
    const allowed = Math.max(0, Math.min(this.#evenPart, this.#free));
    this.#holders[index] = {
      allowed,
      reserved: allowed,
      held: 0,
      want: 0,
      seq: 1,
      ackedSeq: 1,
      isPolled: false,
      waits: false,
    };
    return { allowed, seq: 1 };
  }

  /** It has ended, and with it all that it held. */
  leave(index: number): void {
    this.#holders[index] = null;
    this.#divide();
  }

  set limit(limit: number) {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#divide();
    this.#topUp();
  }

  used(index: number, use: Use): void {
    const holder = this.#holders[index];
    if (holder == null) return;
    holder.held = use.held;
    holder.want = use.want;
    holder.ackedSeq = Math.max(holder.ackedSeq, use.seq);
    // Said before it had heard the last word: it may have taken more meanwhile.
    if (use.seq === holder.seq) holder.reserved = Math.max(holder.allowed, use.held);
    if (use.reason === 'polled') holder.isPolled = false;
    if (use.reason === 'short') {
      holder.waits = true;
      if (holder.allowed === 0) this.#turn = index;
      this.#pollOthers(index, holder);
    }
    this.#divide();
  }

  get #evenPart(): number {
    return Math.floor(this.#limit / this.#options.workers);
  }

  get #free(): number {
    let free = this.#limit;
    for (const holder of this.#holders) free -= holder?.reserved ?? 0;
    return free;
  }

  /** What the others wanted when they were last heard may be long over. */
  #pollOthers(index: number, { want, allowed }: Holder): void {
    if (this.#free >= want - allowed) return;
    for (const [other, holder] of this.#holders.entries()) {
      if (other === index || holder === null || holder.isPolled || holder.allowed === 0) continue;
      holder.isPolled = true;
      this.#options.poll(other);
    }
  }

  #divide(): void {
    const holders = this.#holders;
    if (holders.some((holder) => holder?.isPolled)) return;
    const demands = holders.map((holder) =>
      holder === null ? 0 : Math.max(holder.want, this.#kept(holder)),
    );
    const parts = fairParts(this.#limit, demands, this.#turn);
    // Once all have acted on what they have been told, the limit less all `allowed` is free.
    let lacking = -this.#limit;
    for (const [i, holder] of holders.entries())
      if (holder !== null) lacking += holder.allowed + Math.max(0, parts[i]! - holder.allowed);
    for (const [i, holder] of holders.entries()) {
      if (holder === null || lacking <= 0 || holder.allowed <= parts[i]!) continue;
      const less = Math.min(lacking, holder.allowed - parts[i]!);
      lacking -= less;
      this.#tell(i, holder, holder.allowed - less, false);
    }
    for (const [i, holder] of holders.entries()) {
      if (holder === null) continue;
      const more = Math.min(parts[i]! - holder.allowed, this.#free);
      if (more > 0) this.#tell(i, holder, holder.allowed + more, false);
    }
    this.#answerWaiting();
  }

  #kept(holder: Holder): number {
    return this.#options.givesBack ? 0 : holder.held;
  }

  #answerWaiting(): void {
    const isMoving = this.#holders.some((holder) => holder !== null && holder.ackedSeq < holder.seq);
    for (const [i, holder] of this.#holders.entries()) {
      if (holder === null || !holder.waits) continue;
      if (holder.allowed >= holder.want) holder.waits = false;
      else if (!isMoving) {
        holder.waits = false;
        this.#tell(i, holder, holder.allowed, true);
      }
    }
  }

  /** After the limit has risen. */
  #topUp(): void {
    for (const [i, holder] of this.#holders.entries()) {
      if (holder === null) continue;
      const more = Math.min(this.#evenPart - holder.allowed, this.#free);
      if (more > 0) this.#tell(i, holder, holder.allowed + more, false);
    }
  }

  #tell(index: number, holder: Holder, allowed: number, final: boolean): void {
    holder.allowed = allowed;
    // One that is told less keeps what it was told before until it says that it has acted on it.
    holder.reserved = Math.max(holder.reserved, allowed);
    holder.seq++;
    this.#options.tell(index, allowed, holder.seq, final);
  }
}

/** To each what it demands; where that is too much, to each the same, and what is left over by turns. */
export function fairParts(limit: number, demands: readonly number[], turn: number): number[] {
  const parts = demands.map(() => 0);
  let left = limit;
  for (;;) {
    const open = demands.map((_, i) => (i + turn) % demands.length).filter((i) => parts[i]! < demands[i]!);
    if (left <= 0 || open.length === 0) return parts;
    const each = Math.max(1, Math.floor(left / open.length));
    for (const i of open) {
      const more = Math.min(each, demands[i]! - parts[i]!, left);
      parts[i]! += more;
      left -= more;
    }
  }
}
