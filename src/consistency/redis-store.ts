// Keyed watermarks in Redis, for all proxies that serve the same keys: read in batches before keyed reads, written before replies.
// It knows no client; whether what it writes counts is its membership's to say (redis-membership.ts).

import { monotonicMs } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { StoreCounters } from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';
import { KeyBatch, type PendingWrite, type ReadCallback, settle } from './key-batch.js';
import { inTime, Membership, type MembershipState } from './redis-membership.js';
import type { RedisPort } from './redis-port.js';
import { READ, type RedisKeys, SEPARATOR, WRITE } from './redis-scripts.js';
import type { FloorAnswer, SharedPosition, WatermarkStore } from './watermark-store.js';

export interface RedisStoreOptions {
  readonly redis: RedisPort;
  readonly keys: RedisKeys;
  readonly member: string;
  readonly leaseMs: number;
  readonly timeoutMs: number;
  /** A key that nobody has used for so long goes. */
  readonly ttlMs: () => number;
  readonly log: Log;
  readonly counters: StoreCounters;
  /** Of the primary, asked for after the call; null: it cannot be asked. */
  readonly positionNow: (callback: (position: SharedPosition | null) => void) => void;
  /** Its name; null: there is none. */
  readonly primary: () => string | null;
}

const MAX_BATCH = 200;

export class RedisStore implements WatermarkStore {
  readonly #options: RedisStoreOptions;
  readonly #membership: Membership;
  readonly #readTimeoutMs: number;
  /** Reads go out at once, writes while the lease runs. */
  readonly #batch = new KeyBatch(() => this.#send());
  /** Writes that were sent, and are neither known to be there nor given up. */
  readonly #sent = new Set<PendingWrite>();
  #seq = 0;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#readTimeoutMs = Math.min(options.timeoutMs, options.leaseMs / 8);
    const { redis, keys, member, leaseMs, log, positionNow, primary } = options;
    const changed = (state: MembershipState): void => this.#onState(state);
    const missing = (names: readonly string[]): void => {
      options.counters.missing = names.length;
    };
    this.#membership = new Membership({
      ...{ redis, keys, member, leaseMs, log, positionNow, primary, changed, missing },
    });
  }

  get incarnation(): string {
    return this.#membership.identity;
  }

  /** Resolves once this process is among those that share. */
  start(): Promise<void> {
    return this.#membership.start();
  }

  stop(): Promise<void> {
    return this.#membership.stop();
  }

  get state(): { readonly state: MembershipState; readonly missing: readonly string[] } {
    return { state: this.#membership.state, missing: this.#membership.missing };
  }

  read(key: string, callback: ReadCallback): void {
    this.#options.counters.reads++;
    if (this.#membership.state !== 'in') {
      this.#doubt('not-joined', [callback]);
      return;
    }
    this.#batch.read(key, callback);
  }

  write(key: string, position: SharedPosition, settled: (incarnation: string | null) => void): void {
    this.#options.counters.writes++;
    const { state } = this.#membership;
    if (state === 'out' || state === 'closed') {
      this.#options.counters.unrecorded++;
      settled(null);
      return;
    }
    this.#batch.write(key, position, settled);
  }

  #send(): void {
    this.#sendReads();
    if (this.#membership.state === 'in') this.#sendWrites();
  }

  #onState(state: MembershipState): void {
    this.#options.counters.joined = state === 'in' ? 1 : 0;
    if (state === 'in') this.#batch.soon();
    if (state !== 'out' && state !== 'closed') return;
    // No lease of ours runs: whoever reads is in doubt, so that clients may be told what is not recorded.
    const given = [...this.#sent, ...this.#batch.takeWrites()];
    this.#sent.clear();
    for (const write of given) {
      this.#options.counters.unrecorded += write.settled.length;
      settle(write, null);
    }
  }

  // --- reading ----------------------------------------------------------------------------------------------

  #sendReads(): void {
    const asked = this.#batch.takeReads();
    for (let i = 0; i < asked.length; i += MAX_BATCH) void this.#ask(asked.slice(i, i + MAX_BATCH));
  }

  async #ask(asked: readonly (readonly [string, readonly ReadCallback[]])[]): Promise<void> {
    const { redis, keys, member, counters } = this.#options;
    const { life, members, base } = keys;
    const sentMs = monotonicMs();
    const all = asked.flatMap(([, callbacks]) => callbacks);
    let answer: unknown[];
    try {
      const names = [life, members, base, ...asked.map(([key]) => keys.key(key))];
      const values = [this.#membership.identity, member];
      answer = (await inTime(redis.eval(READ, names, values), this.#readTimeoutMs)) as unknown[];
    } catch (cause) {
      this.#options.log.debug({ error: describeError(cause) }, 'watermarks cannot be read');
      this.#doubt('no-answer', all);
      return;
    }
    counters.readMs += monotonicMs() - sentMs;
    counters.readBatches++;
    if (answer[0] === 'missing') {
      this.#doubt('member-missing', all);
      return;
    }
    if (answer[0] !== 'ok') {
      this.#doubt('other-data', all);
      this.#membership.distrust('Redis has lost or changed its data');
      return;
    }
    const bases = (answer[1] as string[]).map(baseOf);
    asked.forEach(([, callbacks], i) => {
      const values = answer[i + 2] as string[];
      if (values[0] === '') counters.unknown += callbacks.length;
      const floor: FloorAnswer =
        values[0] === ''
          ? { kind: 'unknown' }
          : { kind: 'floor', positions: [...bases, ...values.map(positionOf)] };
      for (const callback of callbacks) callback(floor);
    });
  }

  #doubt(why: keyof StoreCounters['doubts'], callbacks: readonly ReadCallback[]): void {
    this.#options.counters.doubts[why] += callbacks.length;
    for (const callback of callbacks) callback({ kind: 'doubt', why });
  }

  // --- writing ----------------------------------------------------------------------------------------------

  #sendWrites(): void {
    const all = this.#batch.takeWrites();
    for (const write of all) this.#sent.add(write);
    for (let i = 0; i < all.length; i += MAX_BATCH) void this.#record(all.slice(i, i + MAX_BATCH));
  }

  async #record(writes: readonly PendingWrite[]): Promise<void> {
    const { redis, keys, member, counters, ttlMs } = this.#options;
    const { identity, instance, callTimeoutMs } = this.#membership;
    const values = [identity, member, instance, String(ttlMs())];
    for (const { position } of writes)
      values.push(String(++this.#seq), [position.primary, position.text].join(SEPARATOR));
    const names = [keys.life, keys.members, ...writes.map(({ key }) => keys.key(key))];
    const late = setTimeout(
      () => this.#membership.distrust('a watermark could not be written in time'),
      callTimeoutMs,
    );
    try {
      const [what] = (await redis.eval(WRITE, names, values)) as string[];
      clearTimeout(late);
      if (what === 'ok') {
        for (const write of writes) {
          // Late, it is there all the same; but it has been given up already, or will be.
          if (!this.#sent.delete(write)) continue;
          counters.writeMs += monotonicMs() - write.sinceMs;
          counters.recorded += write.settled.length;
          settle(write, identity);
        }
      } else this.#membership.distrust('Redis has lost or changed its data');
    } catch (cause) {
      clearTimeout(late);
      counters.writeErrors++;
      this.#membership.distrust(`a watermark could not be written: ${describeError(cause)}`);
    }
  }
}

/** `primary`, `text`. */
function baseOf(value: string): SharedPosition {
  const at = value.indexOf(SEPARATOR);
  return { primary: value.slice(0, at), text: value.slice(at + 1) };
}

/** Instance, sequence, then the position. */
function positionOf(value: string): SharedPosition {
  const first = value.indexOf(SEPARATOR);
  const second = value.indexOf(SEPARATOR, first + 1);
  return baseOf(value.slice(second + 1));
}
