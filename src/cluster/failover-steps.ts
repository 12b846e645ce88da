// The steps that replace a dead primary, one by one: undone before the promotion, completed after it.
// It speaks to nodes through NodeControl only and changes the picture by events only; when to begin is decided in failover.ts.

import { describeError } from '../lib/errors.js';
import type { NodeAddress, NodeControl } from '../protocol/node-control.js';
import type { Position } from '../protocol/position.js';
import { choose, type StoppedReplica, type Unfit } from './candidate.js';
import { isAvailable } from './election.js';
import type { FailoverMemory } from './failover-memory.js';
import type { FailoverOptions } from './failover-options.js';
import { findNode, type NodeSnapshot } from './snapshot.js';
import type { FailoverAttempt } from './state-file.js';

/** A promotion that was ordered is not taken back: it is asked for again. */
const PROMOTE_ATTEMPTS = 3;

/** A limit that an operator has set forbids to go on. */
class Refused extends Error {}

export class FailoverSteps {
  readonly #options: FailoverOptions;
  readonly #memory: FailoverMemory;
  #stopped = false;

  constructor(options: FailoverOptions, memory: FailoverMemory) {
    this.#options = options;
    this.#memory = memory;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when the primary has been replaced, or everything has been taken back. */
  async replace(why: string): Promise<void> {
    const before = this.#options.snapshot();
    const old = findNode(before, before.lastPrimary)!;
    const startedMs = this.#options.clock.now();
    await this.#options.audit.record({
      event: 'failover-begin',
      epoch: before.epoch,
      oldPrimary: old.name,
      why,
    });
    this.#options.dispatch({
      type: 'failover-started',
      verdict: `failing over: ${why}`,
      nowMs: this.#options.clock.now(),
    });
    const stopped = new Map<string, Position>();
    let candidate: StoppedReplica;
    try {
      // Nobody may write to the old primary any more before another one is made.
      await this.#options.settled?.();
      await this.#stopReceiving(old, stopped);
      this.#assertStillGone(old.name, startedMs);
      candidate = await this.#chooseApplied(old, stopped);
      this.#assertStillGone(old.name, startedMs);
    } catch (error) {
      // A proxy that is stopping cannot undo it any more; the state file tells the next one to.
      if (!this.#stopped) await this.#undo(old, [...stopped.keys()], error);
      return;
    }
    const attempt: FailoverAttempt = {
      oldPrimary: old.name,
      candidate: candidate.node.name,
      step: 'promote',
      stopped: [...stopped.keys()],
    };
    await this.promote(attempt, candidate.node.name, startedMs);
  }

  /** A thawed or restarted primary is better than any candidate: nothing has been promoted yet. */
  #assertStillGone(name: string, startedMs: number): void {
    if (this.#stopped) throw new Error('the proxy is stopping');
    const node = findNode(this.#options.snapshot(), name);
    if (node === null) return;
    if (node.claims === 'primary' && node.health === 'up' && node.appliedAtMs > startedMs)
      throw new Error(`${name} answers again`);
  }

  async #stopReceiving(old: NodeSnapshot, stopped: Map<string, Position>): Promise<void> {
    const { stepTimeoutMs } = this.#options.config().failover;
    const replicas = this.#options
      .snapshot()
      .nodes.filter((node) => node.name !== old.name && node.claims === 'replica' && isAvailable(node));
    const names = replicas.map((node) => node.name);
    await this.#memory.begin({
      oldPrimary: old.name,
      candidate: null,
      step: 'stop-receiving',
      stopped: names,
    });
    await Promise.all(
      names.map(async (name) => {
        try {
          const received = await this.#controlOf(name).stopReceiving(stepTimeoutMs);
          stopped.set(name, received);
          await this.#options.audit.record({ event: 'stop-receiving', node: name, received: received.text });
        } catch (error) {
          await this.#options.audit.record({
            event: 'stop-receiving',
            node: name,
            error: describeError(error),
          });
        }
      }),
    );
    if (stopped.size === 0) throw new Error('no replica could be made to stop receiving');
  }

  /** The first choice, or one that has received as much where the first cannot apply it: nothing is lost by that. */
  async #chooseApplied(old: NodeSnapshot, stopped: ReadonlyMap<string, Position>): Promise<StoppedReplica> {
    const { maxUnappliedMs, stepTimeoutMs } = this.#options.config().failover;
    // Who comes next had the first one's time to apply it.
    let timeoutMs = maxUnappliedMs;
    const unfit = new Map<string, string>();
    let most: Position | null = null;
    for (;;) {
      const candidate = await this.#choose(stopped, unfit);
      const { distance, distanceUnit } = this.#options.positions;
      const less = candidate === null || most === null ? 0 : distance(candidate.received, most);
      if (candidate === null || less > 0) {
        const reasons = [...unfit].map(([name, why]) => `${name} ${why}`);
        if (candidate !== null)
          reasons.push(
            `${candidate.node.name} has received ${less} ${distanceUnit} less, which would be lost`,
          );
        throw new Refused(reasons.join('; '));
      }
      most ??= candidate.received;
      const why = await this.#apply(old, candidate, [...stopped.keys()], timeoutMs);
      if (why === null) return candidate;
      unfit.set(candidate.node.name, `has not applied what it received: ${why}`);
      timeoutMs = Math.min(maxUnappliedMs, stepTimeoutMs);
    }
  }

  async #choose(stopped: ReadonlyMap<string, Position>, unfit: Unfit): Promise<StoppedReplica | null> {
    const { nodes } = this.#options.snapshot();
    const replicas = nodes.flatMap((node) => {
      const received = stopped.get(node.name);
      return received === undefined ? [] : [{ node, received }];
    });
    const { candidate, passedOver, lost } = choose(replicas, this.#options.positions, unfit);
    await this.#options.audit.record({
      event: 'choose',
      candidate: candidate?.node.name ?? null,
      received: candidate?.received.text ?? null,
      passedOver,
      lost,
      lostUnit: this.#options.positions.distanceUnit,
    });
    if (candidate === null && unfit.size === 0)
      throw new Error(`no replica may be promoted: ${JSON.stringify(passedOver)}`);
    return candidate;
  }

  /** Null: it has. */
  async #apply(
    old: NodeSnapshot,
    candidate: StoppedReplica,
    stopped: readonly string[],
    timeoutMs: number,
  ): Promise<string | null> {
    const { name } = candidate.node;
    await this.#memory.begin({ oldPrimary: old.name, candidate: name, step: 'apply', stopped });
    this.#verdict(`failing over: ${name} applies what it has received`);
    const why = await this.#controlOf(name).waitApplied(candidate.received, timeoutMs);
    const outcome = why === null ? { applied: candidate.received.text } : { error: why };
    await this.#options.audit.record({ event: 'apply', node: name, ...outcome });
    return why;
  }

  async #undo(old: NodeSnapshot, stopped: readonly string[], cause: unknown): Promise<void> {
    const why = describeError(cause);
    await this.#options.audit.record({ event: 'undo', why, follow: old.name, nodes: stopped });
    await this.pointAll(stopped, old, 'resume');
    this.#memory.forgetAttempt();
    await this.#memory.save();
    const blocked = cause instanceof Refused;
    const verdict = blocked
      ? `${why}: nothing was promoted, an operator must acknowledge`
      : `nothing was promoted: ${why}`;
    await this.#options.audit.record({ event: 'failover-end', promoted: null, why: verdict });
    this.#options.dispatch({ type: 'failover-ended', verdict, blocked, nowMs: this.#options.clock.now() });
  }

  /** From here on there is only forward: a promotion that was ordered may happen whatever its answer was. */
  async promote(order: FailoverAttempt, name: string, startedMs: number): Promise<void> {
    await this.#memory.begin(order);
    this.#verdict(`failing over: ${name} is promoted`);
    const { promoteTimeoutMs } = this.#options.config().failover;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#controlOf(name).promote(promoteTimeoutMs);
        break;
      } catch (error) {
        const why = describeError(error);
        await this.#options.audit.record({ event: 'promote', node: name, attempt, error: why });
        if (attempt < PROMOTE_ATTEMPTS && !this.#stopped) continue;
        // Kept in the state file: whether it has become a primary is found out by asking it.
        this.#memory.unfinished = true;
        this.#verdict(`${name} was told to be the primary, but does not confirm it: ${why}`);
        return;
      }
    }
    await this.complete(name, order.stopped, startedMs);
  }

  async complete(name: string, stopped: readonly string[], startedMs: number): Promise<void> {
    const { nodes, epoch, lastPrimary } = this.#options.snapshot();
    await this.#options.audit.record({ event: 'promote', node: name, epoch: epoch + 1 });
    this.#memory.lastFailoverAt = Date.now();
    this.#memory.forgetAttempt();
    for (const node of nodes)
      if (node.name !== name && node.name !== lastPrimary) this.#memory.pendingFollow.add(node.name);
    this.#options.dispatch({ type: 'promoted', node: name, nowMs: this.#options.clock.now() });
    await this.#memory.save();
    const followers = stopped.filter((other) => other !== name);
    await this.pointAll(followers, findNode(this.#options.snapshot(), name)!, 'follow');
    const tookMs = Math.round(this.#options.clock.now() - startedMs);
    await this.#options.audit.record({ event: 'failover-end', promoted: name, epoch: epoch + 1, tookMs });
    await this.#memory.save();
    this.#options.urge();
  }

  async pointAll(names: readonly string[], upstream: NodeAddress, event: 'follow' | 'resume'): Promise<void> {
    const { stepTimeoutMs } = this.#options.config().failover;
    const address = { host: upstream.host, port: upstream.port };
    await Promise.all(
      names.map(async (node) => {
        const record = { event, node, upstream: `${address.host}:${address.port}` };
        try {
          const control = this.#controlOf(node);
          if (event === 'follow') await control.follow(address, stepTimeoutMs);
          else await control.resumeReceiving(address, stepTimeoutMs);
          this.#memory.pendingFollow.delete(node);
          await this.#options.audit.record(record);
        } catch (error) {
          this.#memory.pendingFollow.add(node);
          await this.#options.audit.record({ ...record, error: describeError(error) });
        }
      }),
    );
  }

  async takeBack(old: NodeSnapshot | null, stopped: readonly string[]): Promise<void> {
    const why = 'the proxy ended during a failover';
    if (old !== null) return this.#undo(old, stopped, new Error(why));
    this.#memory.forgetAttempt();
    await this.#memory.save();
    const nowMs = this.#options.clock.now();
    this.#options.dispatch({ type: 'failover-ended', verdict: why, blocked: false, nowMs });
  }

  #controlOf(name: string): NodeControl {
    const control = this.#options.control(name);
    if (control === null) throw new Error(`node ${name} is not configured any more`);
    return control;
  }

  #verdict(verdict: string): void {
    if (verdict === this.#options.snapshot().verdict) return;
    this.#options.dispatch({ type: 'verdict', verdict, nowMs: this.#options.clock.now() });
  }
}
