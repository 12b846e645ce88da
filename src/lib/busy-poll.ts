// Looks for input again and again for a moment instead of sleeping, where the last waits of the kind were short: being put to
// sleep and woken takes a process 20 to 40 us, which with few clients is a third of what a unit takes. It knows no protocol.
// Where several sockets speak in one turn of the event loop, or more than two clients by turns, nobody sleeps for long anyway, and the
// processor that looks is one that a server needs: then it does not look.

/** Who has spoken: after a client a server's answer is awaited, and the other way round. */
export type Peer = 'client' | 'server';

/** More sockets than these in one turn, on the average of the last: there is work enough for everybody. */
const CROWD = 1.5;
/** Of what clients send, lately: when more comes from others than the last two who spoke, there are more than two. */
const STRANGERS_SHARE = 0.2;
/** Of the waits of a kind, lately: at least these ended within the limit. */
const SOON_SHARE = 0.5;
const SMOOTHING = 1 / 16;
/** Longer between two looks: somebody else had the processor, and needs it. */
const PREEMPTED_MS = 1;
/** For so much longer than it was lost it is left to others. */
const REST_FACTOR = 20;

export interface BusyPollOptions {
  /** Milliseconds, finer than the waits. */
  readonly now: () => number;
  /** Calls `look` once all sockets of this turn, or of the next if this one's have been read, are dealt with. */
  readonly afterTurn: (look: () => void) => void;
}

export class BusyPoll {
  readonly #now: () => number;
  readonly #afterTurn: (look: () => void) => void;
  /** 0: never. */
  #limitMs = 0;
  #inputs = 0;
  /** In a turn, smoothed. */
  #usualInputs = 1;
  #last: Peer = 'client';
  /** The clients who spoke last. */
  #client: unknown = null;
  #clientBefore: unknown = null;
  #strangersShare = 0;
  #isLooking = false;
  /** When the last input had been dealt with; NaN: the wait for the next is not measured. */
  #waitsSinceMs = Number.NaN;
  #lookUntilMs = 0;
  #lookedAtMs = 0;
  #restsUntilMs = 0;
  readonly #soonShare: Record<Peer, number> = { client: 0, server: 0 };
  #idleMs = 0;

  constructor({ now, afterTurn }: BusyPollOptions) {
    this.#now = now;
    this.#afterTurn = afterTurn;
  }

  /** For how long after the last input it looks for the next, in us; 0: not at all. */
  set limitUs(us: number) {
    this.#limitMs = us / 1000;
    // Also what has begun under the old limit.
    if (us === 0) this.#lookUntilMs = 0;
  }

  /** Spent on looks that found nothing, so far. */
  get idleMs(): number {
    return this.#idleMs;
  }

  /** To be called for each chunk that a client's socket brings. `client`: whatever tells it from others. */
  noteClient(client: unknown): void {
    if (this.#limitMs === 0) return;
    if (client !== this.#client) {
      const isStranger = client !== this.#clientBefore;
      this.#clientBefore = this.#client;
      this.#client = client;
      this.#strangersShare += ((isStranger ? 1 : 0) - this.#strangersShare) * SMOOTHING;
    } else this.#strangersShare -= this.#strangersShare * SMOOTHING;
    this.#noteInput('client');
  }

  /** To be called for each chunk that a server connection's socket brings. */
  noteServer(): void {
    if (this.#limitMs !== 0) this.#noteInput('server');
  }

  #noteInput(from: Peer): void {
    if (this.#inputs++ === 0) {
      if (!Number.isNaN(this.#waitsSinceMs)) {
        const isSoon = this.#now() - this.#waitsSinceMs <= this.#limitMs;
        this.#soonShare[this.#last] += ((isSoon ? 1 : 0) - this.#soonShare[this.#last]) * SMOOTHING;
      }
      if (!this.#isLooking) this.#afterTurn(this.#look);
    }
    this.#last = from;
  }

  readonly #look = (): void => {
    const nowMs = this.#now();
    if (this.#inputs > 0) {
      this.#usualInputs += (this.#inputs - this.#usualInputs) * SMOOTHING;
      const isCrowded = this.#usualInputs > CROWD || this.#strangersShare > STRANGERS_SHARE;
      this.#inputs = 0;
      this.#waitsSinceMs = isCrowded ? Number.NaN : nowMs;
      const isWorthIt =
        !isCrowded && this.#soonShare[this.#last] >= SOON_SHARE && nowMs >= this.#restsUntilMs;
      this.#lookUntilMs = isWorthIt ? nowMs + this.#limitMs : 0;
    } else {
      const tookMs = nowMs - this.#lookedAtMs;
      this.#idleMs += tookMs;
      if (tookMs > PREEMPTED_MS) {
        this.#restsUntilMs = nowMs + tookMs * REST_FACTOR;
        this.#lookUntilMs = 0;
      }
    }
    this.#lookedAtMs = nowMs;
    this.#isLooking = nowMs < this.#lookUntilMs;
    if (this.#isLooking) this.#afterTurn(this.#look);
  };
}

/** Of this process: it has one event loop. */
export const busyPoll = new BusyPoll({ now: () => performance.now(), afterTurn: setImmediate });
