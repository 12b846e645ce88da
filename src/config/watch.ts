// Takes over a changed configuration file, all or nothing, on a signal, on a call, or when the file has changed.
// It knows the running proxy only as `apply`; how settings reach the data path is not its business.

import { describeError } from '../lib/errors.js';
import { diffConfig } from './diff.js';
import { loadConfigApart } from './load-apart.js';
import { fileSignature, type Loaded, problemLines } from './loaded.js';
import type { Config } from './schema.js';

export type ReloadTrigger = 'signal' | 'file' | 'api';

export interface ReloadOutcome {
  /** ISO 8601. */
  readonly at: string;
  readonly trigger: ReloadTrigger;
  readonly outcome: 'applied' | 'unchanged' | 'refused';
  /** One line for each change, or for each problem when it was refused. */
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

type Applied = { readonly ok: true } | { readonly ok: false; readonly problems: readonly string[] };

export interface ReloaderOptions {
  readonly path: string;
  /** What `path` gave at the start. */
  readonly loaded: Loaded & { readonly config: Config };
  /** Takes over a configuration in which only live settings differ; not ok: nothing was changed. */
  readonly apply: (next: Config) => Applied | Promise<Applied>;
  /** Told of every attempt. */
  readonly onReload: (outcome: ReloadOutcome) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export class Reloader {
  readonly #options: ReloaderOptions;
  #config: Config;
  /** The files of the last load, as they were then. */
  #files: ReadonlyMap<string, string>;
  #revision = 1;
  /** Attempts so far, by how they ended; for the metrics. */
  readonly counts = { applied: 0, unchanged: 0, refused: 0 };
  #last: ReloadOutcome | null = null;
  #running: Promise<unknown> = Promise.resolve();
  #watch: FileWatch | null = null;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#config = options.loaded.config;
    this.#files = options.loaded.files;
  }

  get path(): string {
    return this.#options.path;
  }

  get config(): Config {
    return this.#config;
  }

  /** 1 at the start, one more with each configuration taken over. */
  get revision(): number {
    return this.#revision;
  }

  get lastReload(): ReloadOutcome | null {
    return this.#last;
  }

  /** One at a time, in the order of the calls; never rejects. */
  reload(trigger: ReloadTrigger): Promise<ReloadOutcome> {
    const done = this.#running.then(() => this.#reload(trigger));
    this.#running = done;
    return done;
  }

  /** Starts to look at the file and at those of its secrets every `intervalMs`. */
  watch(intervalMs: number): void {
    this.#watch ??= new FileWatch(
      () => this.#files,
      intervalMs,
      () => this.#running,
      () => this.reload('file'),
    );
  }

  stop(): void {
    this.#watch?.stop();
  }

  async #reload(trigger: ReloadTrigger): Promise<ReloadOutcome> {
    let outcome: Pick<ReloadOutcome, 'outcome' | 'lines' | 'warnings'>;
    try {
      outcome = await this.#attempt();
    } catch (error) {
      outcome = { outcome: 'refused', lines: [describeError(error)], warnings: [] };
    }
    const result: ReloadOutcome = { at: new Date().toISOString(), trigger, ...outcome };
    // The watch also sees what a signal has just taken over; that must not hide what the signal did.
    if (trigger === 'file' && result.outcome === 'unchanged' && this.#last?.outcome !== 'refused')
      return result;
    this.#last = result;
    this.counts[result.outcome]++;
    this.#options.onReload(result);
    return result;
  }

  async #attempt(): Promise<Pick<ReloadOutcome, 'outcome' | 'lines' | 'warnings'>> {
    const { path, apply, env } = this.#options;
    const loaded = await loadConfigApart(path, env);
    const warnings = loaded.warnings.map((warning) => `${warning.path}: ${warning.message}`);
    // Until it succeeds, the files of the last one that did are looked at too: whatever mends it is noticed.
    this.#files = new Map([...this.#files, ...loaded.files]);
    if (loaded.config === null) return { outcome: 'refused', lines: problemLines(loaded, path), warnings };
    const changes = diffConfig(this.#config, loaded.config);
    const restarts = changes.filter((change) => change.effect === 'restart');
    if (restarts.length > 0) {
      const lines = restarts.map((change) => `${change.text} (needs a restart)`);
      return { outcome: 'refused', lines, warnings };
    }
    if (changes.length === 0) return { outcome: 'unchanged', lines: [], warnings };
    const result = await apply(loaded.config);
    if (!result.ok) return { outcome: 'refused', lines: result.problems, warnings };
    this.#config = loaded.config;
    this.#files = loaded.files;
    this.#revision++;
    return { outcome: 'applied', lines: changes.map((change) => change.text), warnings };
  }
}

/**
 * Looks instead of listening: a rename by an editor, the swap of a symbolic link some folders up (Kubernetes) and
 * a network file system all show in `stat`, while inotify needs a watch of its own for each, or sees nothing.
 */
class FileWatch {
  readonly #files: () => ReadonlyMap<string, string>;
  /** Resolves once no reload is under way. */
  readonly #settled: () => Promise<unknown>;
  readonly #onChange: () => Promise<unknown>;
  readonly #timer: NodeJS.Timeout;
  /** What the last look saw: a file that is still being written differs from look to look. */
  #previous = '';
  #busy = false;

  constructor(
    files: () => ReadonlyMap<string, string>,
    intervalMs: number,
    settled: () => Promise<unknown>,
    onChange: () => Promise<unknown>,
  ) {
    this.#files = files;
    this.#settled = settled;
    this.#onChange = onChange;
    this.#timer = setInterval(() => void this.#look(), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const { now, changed } = await this.#compare();
      const stable = now === this.#previous;
      this.#previous = now;
      if (!changed || !stable) return;
      // A reload by signal or call may be taking the change over at this moment.
      await this.#settled();
      if ((await this.#compare()).changed) await this.#onChange();
    } finally {
      this.#busy = false;
    }
  }

  async #compare(): Promise<{ readonly now: string; readonly changed: boolean }> {
    const signatures: string[] = [];
    let changed = false;
    for (const [file, loaded] of this.#files()) {
      const now = await fileSignature(file);
      if (now !== loaded) changed = true;
      signatures.push(now);
    }
    return { now: signatures.join(), changed };
  }
}
