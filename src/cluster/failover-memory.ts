// What the failover remembers of its own: an attempt under way, nodes still to be pointed, the last promotion; kept in the state file.
// It decides nothing and talks to no node.

import { describeError } from '../lib/errors.js';
import type { FailoverOptions } from './failover-options.js';
import { type ClusterState, type FailoverAttempt, loadState, saveState } from './state-file.js';

export class FailoverMemory {
  readonly #options: FailoverOptions;
  /** Nodes that have not been pointed at the primary yet. */
  readonly pendingFollow = new Set<string>();
  /** Wall clock: it must mean something after a restart; null: never. */
  lastFailoverAt: number | null = null;
  /** The outcome of the attempt is not known: from the state file, or a promotion that gave no answer. */
  unfinished = false;
  #attempt: FailoverAttempt | null = null;
  #saved = '';
  #saving: Promise<void> = Promise.resolve();

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  get attempt(): FailoverAttempt | null {
    return this.#attempt;
  }

  /** Rejects when there is a state file that cannot be read. */
  async restore(): Promise<void> {
    const path = this.#options.config().stateFile;
    if (path === null) return;
    const state = await loadState(path, this.#options.cluster);
    if (state === null) return;
    this.lastFailoverAt = state.lastFailoverAt;
    this.#attempt = state.attempt;
    this.unfinished = state.attempt !== null;
    for (const name of state.pendingFollow) this.pendingFollow.add(name);
    this.#options.dispatch({
      type: 'restored',
      epoch: state.epoch,
      primary: state.primary,
      fenced: state.fenced,
      unfinished: this.unfinished,
      nowMs: this.#options.clock.now(),
    });
  }

  /** The attempt is over, whatever became of it. */
  forgetAttempt(): void {
    this.#attempt = null;
    this.unfinished = false;
  }

  /** Resolves once the attempt is on the disk; a step that it names is begun only then. */
  async begin(attempt: FailoverAttempt): Promise<void> {
    this.#attempt = attempt;
    await this.save();
  }

  /** Resolves once what is remembered now is on the disk, if there is a state file; never rejects. */
  save(): Promise<void> {
    const path = this.#options.config().stateFile;
    const snapshot = this.#options.snapshot();
    if (path === null || (snapshot.lastPrimary === null && this.#attempt === null)) return this.#saving;
    const state: ClusterState = {
      cluster: this.#options.cluster,
      epoch: snapshot.epoch,
      primary: snapshot.lastPrimary,
      fenced: snapshot.nodes.filter((node) => node.fenced).map((node) => node.name),
      pendingFollow: [...this.pendingFollow],
      lastFailoverAt: this.lastFailoverAt,
      attempt: this.#attempt,
    };
    const text = JSON.stringify(state);
    if (text === this.#saved) return this.#saving;
    this.#saved = text;
    this.#saving = this.#saving
      .then(() => saveState(path, state))
      .catch((error: unknown) => {
        this.#options.log.error({ path, error: describeError(error) }, 'the state file cannot be written');
      });
    return this.#saving;
  }
}
