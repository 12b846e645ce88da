// The supervisor's shares of all limits: made when they are first needed, changed with the configuration.
// It knows workers by their number only.

import type { Config } from '../../config/schema.js';
import { firstLimits, holdsClients, limitOf } from './limits.js';
import type { Allowed, Use } from './messages.js';
import { Share } from './share.js';

export interface SharesOptions {
  readonly config: Config;
  readonly workers: number;
  readonly tell: (index: number, share: Allowed) => void;
  readonly poll: (index: number, key: string) => void;
}

export class Shares {
  readonly #options: SharesOptions;
  #config: Config;
  readonly #shares = new Map<string, Share>();
  readonly #joined = new Set<number>();

  constructor(options: SharesOptions) {
    this.#options = options;
    this.#config = options.config;
    for (const key of firstLimits(options.config)) this.#obtain(key);
  }

  /** What a new worker starts with. */
  join(index: number): Allowed[] {
    this.#joined.add(index);
    return [...this.#shares].map(([key, share]) => ({ key, ...share.join(index), final: false }));
  }

  leave(index: number): void {
    this.#joined.delete(index);
    for (const share of this.#shares.values()) share.leave(index);
  }

  used(index: number, use: Use): void {
    this.#obtain(use.key)?.used(index, use);
  }

  configure(config: Config): void {
    this.#config = config;
    for (const key of firstLimits(config)) this.#obtain(key);
    for (const [key, share] of this.#shares) {
      const limit = limitOf(key, config);
      if (limit === null) this.#shares.delete(key);
      else share.limit = limit;
    }
  }

  #obtain(key: string): Share | null {
    const known = this.#shares.get(key);
    if (known !== undefined) return known;
    const limit = limitOf(key, this.#config);
    if (limit === null) return null;
    const { workers, tell, poll } = this.#options;
    const share = new Share({
      limit,
      workers,
      givesBack: !holdsClients(key),
      tell: (index, allowed, seq, final) => tell(index, { key, allowed, seq, final }),
      poll: (index) => poll(index, key),
    });
    this.#shares.set(key, share);
    for (const index of this.#joined) tell(index, { key, ...share.join(index), final: false });
    return share;
  }
}
