// Ctrl-C and SIGTERM: the first one asks the demo to stop, the second one ends the process. It knows nothing of what is stopped.

/** What a shell reports of a process that a signal has ended: 128 and its number. */
const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof EXIT_BY_SIGNAL;

/** npm passes on the Ctrl-C that the terminal has sent to us already: one key stroke, two signals. */
const ECHO_MS = 300;

export class Interruption {
  readonly #controller = new AbortController();
  /** Resolves with the first signal. */
  readonly happened: Promise<StopSignal>;
  #firstMs = 0;

  constructor() {
    this.happened = new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        process.on(signal, () => {
          if (this.#firstMs === 0) {
            this.#firstMs = performance.now();
            this.#controller.abort(new Error(`stopped by ${signal}`));
            resolve(signal);
          } else if (performance.now() - this.#firstMs > ECHO_MS) {
            // Servers and folder go in the `exit` handlers.
            process.exit(EXIT_BY_SIGNAL[signal]);
          }
        });
      }
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The exit code of a process that the signal has kept from its task. */
  static exitCode(signal: StopSignal): number {
    return EXIT_BY_SIGNAL[signal];
  }

  /** The work's result, or 'SIGINT' / 'SIGTERM' as soon as one comes; the work may then fail unheard. */
  async orSignal<T>(work: Promise<T>): Promise<{ readonly result: T } | { readonly stoppedBy: StopSignal }> {
    work.catch(() => {});
    return Promise.race([
      work.then((result) => ({ result })),
      this.happened.then((stoppedBy) => ({ stoppedBy })),
    ]);
  }
}
