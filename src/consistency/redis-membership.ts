// One process's place among those that share watermarks in Redis: its lease, and in which life of the data it holds.
// It knows no key and no client; the argument why nothing stale is read is in src/ARCHITECTURE.md, "Keys over several proxies".

import { randomUUID } from 'node:crypto';
import { assert } from '../lib/assert.js';
import { monotonicMs } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { Log } from '../telemetry/log.js';
import type { RedisPort } from './redis-port.js';
import { HELLO, LEASE, LEAVE, type RedisKeys, SEPARATOR } from './redis-scripts.js';
import type { SharedPosition } from './watermark-store.js';

/**
 * - `out`: no lease runs: others are in doubt, and what clients are told need not be recorded
 * - `joining`: a position that covers what was not recorded has been asked for: from here on everything is kept back
 * - `in`: the lease runs
 * - `leaving`: it is not renewed any more, and may still run: everything is kept back until it has run out
 * - `closed`
 */
export type MembershipState = 'out' | 'joining' | 'in' | 'leaving' | 'closed';

const MOVES: Record<MembershipState, readonly MembershipState[]> = {
  out: ['joining', 'closed'],
  joining: ['in', 'out', 'leaving', 'closed'],
  in: ['leaving', 'closed'],
  leaving: ['out', 'closed'],
  closed: [],
};

export interface MembershipOptions {
  readonly redis: RedisPort;
  readonly keys: RedisKeys;
  readonly member: string;
  readonly leaseMs: number;
  readonly log: Log;
  /** Of the primary, asked for after the call; null: it cannot be asked. */
  readonly positionNow: (callback: (position: SharedPosition | null) => void) => void;
  /** Its name; null: there is none. */
  readonly primary: () => string | null;
  readonly changed: (state: MembershipState) => void;
  /** With each lease: members that have none. */
  readonly missing: (names: readonly string[]) => void;
}

/** Clocks of two machines differ in speed by far less. */
const CLOCK_MARGIN = 1.05;

export class Membership {
  readonly #options: MembershipOptions;
  readonly instance = randomUUID();
  readonly #life = randomUUID();
  /** How long a lease runs. With a failed join before it, a reply is kept back for less than `leaseMs`. */
  readonly #runMs: number;
  readonly callTimeoutMs: number;
  #state: MembershipState = 'out';
  /** Of the data in which the lease holds or held; "" before the first one. */
  identity = '';
  /** Where `#members` are known from. */
  #membersOf = '';
  /** No lease of this process, in whatever data, runs beyond it (this process's clock). */
  #endsMs = Number.NEGATIVE_INFINITY;
  /** The server's time, and when its answer came: it was no later then. */
  #serverMs = 0;
  #serverReadMs = 0;
  /** As last heard, with this one. */
  #members: readonly string[] = [];
  missing: readonly string[] = [];
  joins = 0;
  #timer: NodeJS.Timeout | null = null;
  #isRenewing = false;
  /** Redis has not answered the last attempt to join: the next one need not wait when there is a connection. */
  #awaitsConnection = true;
  /** The base as Redis has it, and as the next lease brings it. */
  #base: SharedPosition | null = null;
  #nextBase: SharedPosition | null = null;
  #asksBase = false;
  #complaint = '';
  readonly #joined: (() => void)[] = [];

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#runMs = options.leaseMs / 2;
    this.callTimeoutMs = options.leaseMs / 8;
  }

  get state(): MembershipState {
    return this.#state;
  }

  /** Resolves once it has joined, and all that were there before know of it. */
  async start(): Promise<void> {
    const joined = new Promise<void>((resolve) => this.#joined.push(resolve));
    this.#options.redis.onReady(() => {
      if (this.#state === 'out' && this.#awaitsConnection) this.#later(() => void this.#attempt(), 0);
    });
    void this.#attempt();
    await joined;
  }

  async stop(): Promise<void> {
    const wasIn = this.#state === 'in';
    if (this.#state === 'closed') return;
    this.#to('closed');
    if (this.#timer !== null) clearTimeout(this.#timer);
    // Not before the last reply has gone out; whoever is not told takes it for dead, which is right too.
    const { redis, keys, member } = this.#options;
    if (wasIn) await this.#call(LEAVE, [keys.members], [member, this.instance]).catch(() => {});
    redis.close();
  }

  /** What it wrote may not be where others look for it. */
  distrust(why: string): void {
    if (this.#state !== 'in') return;
    this.#complain('warn', `watermarks cannot be shared now: ${why}`);
    this.#leave();
  }

  // --- joining ----------------------------------------------------------------------------------------------

  async #attempt(): Promise<void> {
    const { redis, keys } = this.#options;
    try {
      const [what, identity, time] = (await this.#call(HELLO, [keys.life], [this.#life])) as string[];
      if (this.#state !== 'out') return;
      this.#awaitsConnection = false;
      if (what === 'ok') {
        this.#heard(time!);
        await this.#join(identity!);
        return;
      }
      if (what === 'evicts')
        this.#complain(
          'error',
          `Redis may forget watermarks: maxmemory-policy is ${identity}, not noeviction`,
        );
      else this.#complain('warn', 'Redis is a replica');
      redis.reconnect();
    } catch (cause) {
      this.#awaitsConnection = true;
      this.#complain('warn', `Redis cannot be used: ${describeError(cause)}`);
      if (cause instanceof LateError) redis.reconnect();
    }
    if (this.#state === 'out') this.#later(() => void this.#attempt(), this.callTimeoutMs);
  }

  async #join(identity: string): Promise<void> {
    this.#to('joining');
    const base = await this.#askPosition();
    if (this.#state !== 'joining') return;
    if (base === null) {
      this.#complain('warn', 'the primary has not told its position');
      this.#to('out');
      this.#later(() => void this.#attempt(), this.callTimeoutMs);
      return;
    }
    // Into other data it takes along whom it knows: they may still write to the former.
    const known = identity === this.#membersOf ? [] : this.#members;
    this.identity = identity;
    const outcome = await this.#askLease(base, known);
    if (this.#state !== 'joining') return;
    if (outcome === 'ok' || outcome === 'new') {
      this.joins++;
      // Asked for before this base, it covers less.
      this.#nextBase = null;
      this.#complaint = '';
      this.#options.log.info({ missing: this.missing }, 'watermarks are shared through Redis');
      this.#to('in');
      this.#later(() => void this.#renew(), this.#runMs / 4);
      // Whoever does not know it yet learns of it with its next lease.
      if (this.#joined.length > 0)
        setTimeout(() => this.#ready(), outcome === 'new' ? this.#options.leaseMs : 0);
    } else this.#leave();
  }

  #ready(): void {
    for (const resolve of this.#joined.splice(0)) resolve();
  }

  #askPosition(): Promise<SharedPosition | null> {
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(null), this.callTimeoutMs * 2);
      this.#options.positionNow((position) => {
        clearTimeout(late);
        resolve(position);
      });
    });
  }

  // --- the lease --------------------------------------------------------------------------------------------

  /** What became of it; null: not known. */
  async #askLease(base: SharedPosition | null, known: readonly string[]): Promise<string | null> {
    const { keys, member } = this.#options;
    const value = base === null ? '' : [base.primary, base.text].join(SEPARATOR);
    const now = monotonicMs();
    const sentEnd = this.#serverMs + Math.floor(now - this.#serverReadMs + this.#runMs);
    // Before it is sent: it may hold although its answer never comes.
    this.#endsMs = Math.max(this.#endsMs, now + this.#runMs * CLOCK_MARGIN);
    try {
      const answer = (await this.#call(
        LEASE,
        [keys.life, keys.members, keys.base],
        [this.identity, member, this.instance, String(sentEnd), value, ...known],
      )) as string[];
      const what = answer[0]!;
      if (what === 'taken') this.#complain('error', `another proxy is the member ${member}`);
      if (what !== 'ok' && what !== 'new') return what;
      this.#heard(answer[1]!);
      this.#base = base ?? this.#base;
      this.#membersOf = this.identity;
      this.#members = answer.slice(2).filter((_, i) => i % 2 === 0);
      const missing = this.#members.filter((_, i) => answer[3 + 2 * i] === '0');
      if (missing.join() !== this.missing.join())
        this.#options.log[missing.length === 0 ? 'info' : 'warn'](
          { missing },
          missing.length === 0
            ? 'all that share watermarks have a lease'
            : 'some that share watermarks have no lease: keyed reads go to the primary',
        );
      this.missing = missing;
      this.#options.missing(missing);
      return what;
    } catch (cause) {
      this.#complain('warn', `Redis cannot be used: ${describeError(cause)}`);
      return null;
    }
  }

  async #renew(): Promise<void> {
    if (this.#state !== 'in' || this.#isRenewing) return;
    this.#isRenewing = true;
    const base = this.#nextBase;
    this.#nextBase = null;
    const outcome = await this.#askLease(base, []);
    this.#isRenewing = false;
    if (this.#state !== 'in') return;
    if (outcome === 'ok') {
      this.#later(() => void this.#renew(), this.#runMs / 4);
      void this.#lookAtBase();
    } else this.distrust(outcome ?? 'the lease could not be renewed');
  }

  /**
   * A base of a former primary makes others ask for what the present one has at each read. All of it that was not lost the present
   * one has had from its beginning, so that whatever it is asked for now takes its place.
   */
  async #lookAtBase(): Promise<void> {
    const primary = this.#options.primary();
    if (this.#asksBase || primary === null || primary === this.#base?.primary) return;
    this.#asksBase = true;
    const { joins } = this;
    const position = await this.#askPosition();
    this.#asksBase = false;
    if (position !== null && this.joins === joins) this.#nextBase = position;
  }

  #leave(): void {
    this.#to('leaving');
    this.#later(() => this.#ranOut(), this.#endsMs - monotonicMs());
  }

  #ranOut(): void {
    // Timers may be early by a part of a millisecond.
    const leftMs = this.#endsMs - monotonicMs();
    if (leftMs > 0) {
      this.#later(() => this.#ranOut(), leftMs);
      return;
    }
    this.#to('out');
    void this.#attempt();
  }

  // --- helpers ----------------------------------------------------------------------------------------------

  #heard(time: string): void {
    this.#serverMs = Number(time);
    this.#serverReadMs = monotonicMs();
  }

  #call(script: string, keys: readonly string[], values: readonly string[]): Promise<unknown> {
    return inTime(this.#options.redis.eval(script, keys, values), this.callTimeoutMs);
  }

  #later(work: () => void, ms: number): void {
    if (this.#state === 'closed') return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(work, Math.max(1, ms));
  }

  #complain(level: 'warn' | 'error', text: string): void {
    if (text === this.#complaint) return;
    this.#complaint = text;
    this.#options.log[level]({ member: this.#options.member }, text);
  }

  #to(state: MembershipState): void {
    assert(MOVES[this.#state].includes(state), `a member cannot go from ${this.#state} to ${state}`);
    this.#state = state;
    this.#options.changed(state);
  }
}

export class LateError extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
  }
}

export function inTime(answer: Promise<unknown>, ms: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new LateError(ms)), ms);
    answer.then(
      (value) => {
        clearTimeout(late);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(late);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
