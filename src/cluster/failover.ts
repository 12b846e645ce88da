// Decides when the failover acts: weighs the evidence, asks for more, begins, blocks, and finishes what was left unfinished.
// What is done then, step by step, is in failover-steps.ts.

import { describeError } from '../lib/errors.js';
import { judge } from './evidence.js';
import { FailoverMemory } from './failover-memory.js';
import type { FailoverOptions } from './failover-options.js';
import { FailoverSteps } from './failover-steps.js';
import { type ClusterSnapshot, findNode } from './snapshot.js';

/** An attempt that was undone before anything was promoted may be tried again after so long. */
const RETRY_MS = 5_000;
/** A node that could not be pointed at the new primary is tried again so often. */
const FOLLOW_RETRY_MS = 2_000;
/** An answer of a replica that it still receives holds for so long. */
const CONFIRMED_FOR_MS = 15_000;
const LEAST_FRESH_MS = 1_000;
const OFF = 'failover.mode is off: nothing is promoted';

export class Failover {
  readonly #options: FailoverOptions;
  readonly #memory: FailoverMemory;
  readonly #steps: FailoverSteps;
  readonly #confirmations = new Map<string, { readonly atMs: number; readonly receiving: boolean }>();
  #busy: Promise<void> | null = null;
  #stopped = false;
  #nextAttemptMs = Number.NEGATIVE_INFINITY;
  #nextFollowMs = Number.NEGATIVE_INFINITY;

  constructor(options: FailoverOptions) {
    this.#options = options;
    this.#memory = new FailoverMemory(options);
    this.#steps = new FailoverSteps(options, this.#memory);
  }

  restore(): Promise<void> {
    return this.#memory.restore();
  }

  stop(): void {
    this.#stopped = true;
    this.#steps.stop();
  }

  async settled(): Promise<void> {
    await this.#busy;
    await this.#memory.save();
  }

  /** An operator has looked: nothing is blocked any more, and an attempt whose outcome is not known counts as over. */
  acknowledge(): void {
    const nowMs = this.#options.clock.now();
    this.#memory.lastFailoverAt = null;
    this.#nextAttemptMs = Number.NEGATIVE_INFINITY;
    if (this.#busy === null && this.#memory.unfinished) {
      this.#memory.forgetAttempt();
      this.#options.dispatch({ type: 'failover-ended', verdict: '', blocked: false, nowMs });
    }
    this.#options.dispatch({ type: 'acknowledged', nowMs });
  }

  /** Called with every new snapshot; starts at most one thing at a time. */
  consider(): void {
    if (this.#stopped) return;
    void this.#memory.save();
    if (this.#busy !== null) return;
    const snapshot = this.#options.snapshot();
    if (snapshot.phase === 'starting') return;
    if (this.#memory.unfinished) this.#considerUnfinished(snapshot);
    else if (snapshot.primary !== null) this.#considerFollowers(snapshot);
    else if (snapshot.phase === 'no-primary') this.#considerFailure(snapshot);
  }

  #considerFailure(snapshot: ClusterSnapshot): void {
    const { failover, monitor } = this.#options.config();
    const now = this.#options.clock.now();
    const freshMs = Math.max(LEAST_FRESH_MS, 3 * monitor.intervalMs);
    const rules = { freshMs, confirmedForMs: CONFIRMED_FOR_MS };
    const judgement = judge(snapshot, this.#confirmations, rules, now);
    switch (judgement.verdict) {
      case 'no-case':
        this.#verdict('');
        break;
      case 'wait':
      case 'alive':
        this.#verdict(judgement.why);
        break;
      case 'ask':
        if (failover.mode === 'off') this.#verdict(OFF);
        else this.#run(() => this.#ask(judgement.replicas));
        break;
      case 'dead':
        if (failover.mode === 'off') this.#verdict(`${judgement.why}; ${OFF}`);
        else this.#considerDead(judgement.why, failover.blockMs, now);
        break;
    }
  }

  #considerDead(why: string, blockMs: number, now: number): void {
    const sinceLastMs =
      this.#memory.lastFailoverAt === null
        ? Number.POSITIVE_INFINITY
        : Date.now() - this.#memory.lastFailoverAt;
    if (sinceLastMs < blockMs) this.#block(why, sinceLastMs);
    else if (now >= this.#nextAttemptMs) {
      this.#run(async () => {
        await this.#steps.replace(why);
        this.#nextAttemptMs = this.#options.clock.now() + RETRY_MS;
      });
    }
  }

  #run(work: () => Promise<void>): void {
    this.#busy = work()
      .catch((error: unknown) => {
        this.#options.log.error({ error: describeError(error) }, 'failover: a step failed unexpectedly');
      })
      .finally(() => {
        this.#busy = null;
        this.consider();
      });
  }

  #verdict(verdict: string): void {
    if (verdict === this.#options.snapshot().verdict) return;
    this.#options.dispatch({ type: 'verdict', verdict, nowMs: this.#options.clock.now() });
  }

  #block(why: string, sinceLastMs: number): void {
    const verdict = `${why}; the last failover was ${Math.round(sinceLastMs / 1000)} s ago: an operator must acknowledge`;
    void this.#options.audit.record({ event: 'failover-blocked', why: verdict });
    this.#options.dispatch({ type: 'blocked', verdict, nowMs: this.#options.clock.now() });
  }

  async #ask(replicas: readonly string[]): Promise<void> {
    const { stepTimeoutMs } = this.#options.config().failover;
    await Promise.all(
      replicas.map(async (name) => {
        const atMs = this.#options.clock.now();
        let receiving: boolean;
        try {
          receiving = (await this.#options.control(name)?.confirmReceiving(stepTimeoutMs)) ?? false;
        } catch (error) {
          // A replica that cannot be asked may still receive: it counts as a sign of life until it is known to be none.
          this.#options.log.warn(
            { node: name, error: describeError(error) },
            'cannot ask whether it still receives',
          );
          receiving = true;
        }
        this.#confirmations.set(name, { atMs, receiving });
      }),
    );
    this.#options.urge();
  }

  /** Replicas that could not be reached during the failover are pointed at the new primary when they are back. */
  #considerFollowers(snapshot: ClusterSnapshot): void {
    const now = this.#options.clock.now();
    if (this.#memory.pendingFollow.size === 0 || now < this.#nextFollowMs) return;
    if (this.#options.config().failover.mode === 'off') return;
    const primary = findNode(snapshot, snapshot.primary)!;
    const known = snapshot.nodes.filter((node) => this.#memory.pendingFollow.has(node.name));
    for (const name of this.#memory.pendingFollow)
      if (name === primary.name || !known.some((node) => node.name === name))
        this.#memory.pendingFollow.delete(name);
    const back = known.filter((node) => node.claims === 'replica' && node.health === 'up' && !node.fenced);
    if (back.length === 0) return;
    this.#nextFollowMs = now + FOLLOW_RETRY_MS;
    const names = back.map((node) => node.name);
    this.#run(() => this.#steps.pointAll(names, primary, 'follow'));
  }

  /** The proxy ended in the middle, or a promotion gave no answer: completed if it has happened, else taken back. */
  #considerUnfinished(snapshot: ClusterSnapshot): void {
    const attempt = this.#memory.attempt;
    const now = this.#options.clock.now();
    if (attempt === null || now < this.#nextAttemptMs) return;
    const candidate = findNode(snapshot, attempt.candidate);
    const old = findNode(snapshot, attempt.oldPrimary);
    if (attempt.step !== 'promote' || candidate === null) {
      this.#memory.unfinished = false;
      this.#run(() => this.#steps.takeBack(old, attempt.stopped));
    } else if (candidate.claims === null || candidate.health !== 'up') {
      const told = `${candidate.name} was told to be the primary and does not answer`;
      this.#verdict(`${told}: whether it is one is not known`);
    } else if (candidate.claims === 'primary') {
      this.#run(() => this.#steps.complete(candidate.name, attempt.stopped, now));
    } else {
      // Told once, it may still become one: told again, it does.
      this.#nextAttemptMs = now + RETRY_MS;
      this.#run(() => this.#steps.promote(attempt, candidate.name, now));
    }
  }
}
