// A handful of control connections to one server, so that no call waits for another one's time-out.
// It knows no database: how to open, destroy and use a connection is the caller's.

const CLOSED = 'the control connections are closed';

export interface Opening<C> {
  readonly connection: C;
  /** Resolves when the connection can be used. */
  readonly ready: Promise<void>;
}

export interface SpareSizes {
  /** Idle connections beyond so many are closed. */
  readonly keepIdle: number;
  /** Calls beyond so many at a time wait. */
  readonly maxOpen: number;
  /** Beyond so many that wait they are refused. */
  readonly maxWaiting: number;
}

export interface SpareConnectionsOptions<C> extends SpareSizes {
  /** Must return at once; whatever takes time belongs into `ready`. */
  readonly open: () => Opening<C>;
  /** Ends it at once, also while it opens or works. */
  readonly destroy: (connection: C) => void;
  /** Whether the connection can take another call after this error of a call. */
  readonly survives: (error: unknown) => boolean;
  /** The error of a call that has taken too long. */
  readonly timedOut: (timeoutMs: number) => Error;
}

interface Wait {
  readonly go: () => void;
  readonly refuse: (error: Error) => void;
}

export class SpareConnections<C> {
  readonly #options: SpareConnectionsOptions<C>;
  readonly #idle: C[] = [];
  readonly #busy = new Set<C>();
  /** Calls that have a place among `maxOpen`. */
  #running = 0;
  /** The first one gets the next place. */
  readonly #waiting = new Set<Wait>();
  #closed = false;

  constructor(options: SpareConnectionsOptions<C>) {
    this.#options = options;
  }

  /**
   * Runs `work` on an idle connection, or on a new one. A call that is safe to run twice is run once more on a new
   * connection when an idle one turns out to be broken: it may have been closed by the server while nobody looked.
   */
  async run<T>(
    timeoutMs: number,
    work: (connection: C) => Promise<T>,
    options: { readonly again: boolean },
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    await this.#place(timeoutMs);
    const reused = this.#idle.length > 0;
    try {
      return await this.#once(deadline - performance.now(), work);
    } catch (error) {
      const left = deadline - performance.now();
      if (!options.again || !reused || left <= 0 || this.#closed || this.#options.survives(error))
        throw error;
      for (const idle of this.#idle.splice(0)) this.#options.destroy(idle);
      return await this.#once(left, work);
    } finally {
      this.#leave();
    }
  }

  /** Resolves when there is one; in time, or not at all. */
  async #place(timeoutMs: number): Promise<void> {
    const { maxOpen, maxWaiting, timedOut } = this.#options;
    if (this.#running < maxOpen) {
      this.#running++;
      return;
    }
    if (this.#waiting.size >= maxWaiting) throw new Error('too many control calls at a time');
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => wait.refuse(timedOut(timeoutMs)), timeoutMs);
      const ended = (): void => {
        clearTimeout(late);
        this.#waiting.delete(wait);
      };
      const wait: Wait = {
        go: () => {
          ended();
          resolve();
        },
        refuse: (error) => {
          ended();
          reject(error);
        },
      };
      this.#waiting.add(wait);
    });
  }

  /** The place is the next one's. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#running--;
    else next.go();
  }

  async #once<T>(timeoutMs: number, work: (connection: C) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error(CLOSED);
    let connection = this.#idle.pop();
    let ready: Promise<void> | null = null;
    if (connection === undefined) {
      const opening = this.#options.open();
      connection = opening.connection;
      ready = opening.ready;
    }
    const taken = connection;
    this.#busy.add(taken);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      // One turn of the event loop more: after a stall of this process the answer may be there, only not read yet.
      timer = setTimeout(() => setImmediate(() => reject(this.#options.timedOut(timeoutMs))), timeoutMs);
    });
    const calls = (async () => {
      if (ready !== null) await ready;
      return await work(taken);
    })();
    // When the time is over nobody waits for it any more; its own end must not become an unhandled rejection.
    calls.catch(() => {});
    let usable = false;
    try {
      const result = await Promise.race([calls, late]);
      usable = true;
      return result;
    } catch (error) {
      usable = this.#options.survives(error);
      throw error;
    } finally {
      clearTimeout(timer);
      this.#busy.delete(taken);
      if (usable && !this.#closed && this.#idle.length < this.#options.keepIdle) this.#idle.push(taken);
      else this.#options.destroy(taken);
    }
  }

  /** Calls under way fail. */
  close(): void {
    this.#closed = true;
    for (const connection of [...this.#idle.splice(0), ...this.#busy]) this.#options.destroy(connection);
    for (const wait of this.#waiting) wait.refuse(new Error(CLOSED));
  }

  /** An idle connection that the server has closed. */
  forget(connection: C): void {
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}
