// Replaces a dead primary: waits for the evidence, then goes through the steps one by one, undoes them before the promotion,
// completes them after it. It speaks to nodes through NodeControl only and changes the picture by events only.

import type { Clock } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { NodeAddress, NodeControl } from '../protocol/node-control.js';
import type { Position, PositionFunctions } from '../protocol/position.js';
import type { Audit } from './audit.js';
import { choose, type StoppedReplica } from './candidate.js';
import type { ClusterConfig } from './config.js';
import { isAvailable } from './election.js';
import { judge } from './evidence.js';
import type { Log } from './log.js';
import type { ClusterEvent } from './reducer.js';
import { type ClusterSnapshot, findNode, type NodeSnapshot } from './snapshot.js';
import { type ClusterState, type FailoverAttempt, loadState, saveState } from './state-file.js';

export interface FailoverOptions {
  readonly cluster: string;
  readonly config: () => ClusterConfig;
  readonly snapshot: () => ClusterSnapshot;
  readonly control: (name: string) => NodeControl | null;
  readonly dispatch: (event: ClusterEvent) => void;
  /** All nodes are probed at once. */
  readonly urge: () => void;
  readonly positions: PositionFunctions;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Audit;
}

/** An attempt that was undone before anything was promoted may be tried again after so long. */
const RETRY_MS = 5_000;
/** A node that could not be pointed at the new primary is tried again so often. */
const FOLLOW_RETRY_MS = 2_000;
/** An answer of a replica that it still receives holds for so long. */
const CONFIRMED_FOR_MS = 15_000;
const LEAST_FRESH_MS = 1_000;
/** A promotion that was ordered is not taken back: it is asked for again. */
const PROMOTE_ATTEMPTS = 3;

const OFF = 'failover.mode is off: nothing is promoted';

/** A limit that an operator has set forbids to go on. */
class Refused extends Error {}

export class Failover {
  readonly #options: FailoverOptions;
  readonly #confirmations = new Map<string, { readonly atMs: number; readonly receiving: boolean }>();
  readonly #pendingFollow = new Set<string>();
  #busy: Promise<void> | null = null;
  #stopped = false;
  #nextAttemptMs = Number.NEGATIVE_INFINITY;
  #nextFollowMs = Number.NEGATIVE_INFINITY;
  /** Wall clock: it must mean something after a restart. */
  #lastFailoverAt: number | null = null;
  #attempt: FailoverAttempt | null = null;
  /** From the state file; its outcome is not known yet. */
  #unfinished = false;
  #saved = '';
  #saving: Promise<void> = Promise.resolve();

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  async restore(): Promise<void> {
    const path = this.#options.config().stateFile;
    if (path === null) return;
    const state = await loadState(path, this.#options.cluster);
    if (state === null) return;
    this.#lastFailoverAt = state.lastFailoverAt;
    this.#attempt = state.attempt;
    this.#unfinished = state.attempt !== null;
    for (const name of state.pendingFollow) this.#pendingFollow.add(name);
    this.#options.dispatch({
      type: 'restored',
      epoch: state.epoch,
      primary: state.primary,
      fenced: state.fenced,
      unfinished: this.#unfinished,
      nowMs: this.#options.clock.now(),
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  async settled(): Promise<void> {
    await this.#busy;
    await this.#saving;
  }

  acknowledge(): void {
    this.#lastFailoverAt = null;
    this.#nextAttemptMs = Number.NEGATIVE_INFINITY;
    if (this.#busy !== null) return;
    this.#attempt = null;
    this.#unfinished = false;
  }

  /** Called with every new snapshot; starts at most one thing at a time. */
  consider(): void {
    if (this.#stopped) return;
    this.#saveIfChanged();
    if (this.#busy !== null) return;
    const snapshot = this.#options.snapshot();
    if (snapshot.phase === 'starting') return;
    if (this.#unfinished) this.#considerUnfinished(snapshot);
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
      this.#lastFailoverAt === null ? Number.POSITIVE_INFINITY : Date.now() - this.#lastFailoverAt;
    if (sinceLastMs < blockMs) this.#block(why, sinceLastMs);
    else if (now >= this.#nextAttemptMs) this.#run(() => this.#replace(why));
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

  async #replace(why: string): Promise<void> {
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
      await this.#stopReceiving(old, stopped);
      this.#assertStillGone(old.name, startedMs);
      candidate = await this.#choose(stopped);
      await this.#apply(old, candidate, [...stopped.keys()]);
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
    await this.#promote(attempt, candidate.node.name, startedMs);
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
    await this.#save({ oldPrimary: old.name, candidate: null, step: 'stop-receiving', stopped: names });
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

  async #choose(stopped: ReadonlyMap<string, Position>): Promise<StoppedReplica> {
    const { nodes } = this.#options.snapshot();
    const replicas = nodes.flatMap((node) => {
      const received = stopped.get(node.name);
      return received === undefined ? [] : [{ node, received }];
    });
    const { candidate, passedOver, lost } = choose(replicas, this.#options.positions);
    await this.#options.audit.record({
      event: 'choose',
      candidate: candidate?.node.name ?? null,
      received: candidate?.received.text ?? null,
      passedOver,
      lost,
      lostUnit: this.#options.positions.distanceUnit,
    });
    if (candidate === null) throw new Error(`no replica may be promoted: ${JSON.stringify(passedOver)}`);
    return candidate;
  }

  async #apply(old: NodeSnapshot, candidate: StoppedReplica, stopped: readonly string[]): Promise<void> {
    const { maxUnappliedMs } = this.#options.config().failover;
    const { name } = candidate.node;
    await this.#save({ oldPrimary: old.name, candidate: name, step: 'apply', stopped });
    this.#verdict(`failing over: ${name} applies what it has received`);
    try {
      await this.#controlOf(name).waitApplied(candidate.received, maxUnappliedMs);
    } catch (error) {
      throw new Refused(
        `${name} has not applied what it received within ${maxUnappliedMs} ms: ${describeError(error)}`,
      );
    }
    await this.#options.audit.record({ event: 'apply', node: name, applied: candidate.received.text });
  }

  async #undo(old: NodeSnapshot, stopped: readonly string[], cause: unknown): Promise<void> {
    const why = describeError(cause);
    await this.#options.audit.record({ event: 'undo', why, follow: old.name, nodes: stopped });
    await this.#pointAll(stopped, old, 'resume');
    await this.#save(null);
    this.#nextAttemptMs = this.#options.clock.now() + RETRY_MS;
    const blocked = cause instanceof Refused;
    const verdict = blocked
      ? `${why}: nothing was promoted, an operator must acknowledge`
      : `nothing was promoted: ${why}`;
    await this.#options.audit.record({ event: 'failover-end', promoted: null, why: verdict });
    this.#options.dispatch({ type: 'failover-ended', verdict, blocked, nowMs: this.#options.clock.now() });
  }

  /** From here on there is only forward: a promotion that was ordered may happen whatever its answer was. */
  async #promote(order: FailoverAttempt, name: string, startedMs: number): Promise<void> {
    await this.#save(order);
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
        this.#unfinished = true;
        this.#verdict(`${name} was told to be the primary, but does not confirm it: ${why}`);
        return;
      }
    }
    await this.#promoted(name, order.stopped, startedMs);
  }

  async #promoted(name: string, stopped: readonly string[], startedMs: number): Promise<void> {
    const { nodes, epoch, lastPrimary } = this.#options.snapshot();
    await this.#options.audit.record({ event: 'promote', node: name, epoch: epoch + 1 });
    this.#lastFailoverAt = Date.now();
    this.#attempt = null;
    this.#unfinished = false;
    this.#confirmations.clear();
    for (const node of nodes)
      if (node.name !== name && node.name !== lastPrimary) this.#pendingFollow.add(node.name);
    this.#options.dispatch({ type: 'promoted', node: name, nowMs: this.#options.clock.now() });
    await this.#saving;
    const followers = stopped.filter((other) => other !== name);
    await this.#pointAll(followers, findNode(this.#options.snapshot(), name)!, 'follow');
    const tookMs = Math.round(this.#options.clock.now() - startedMs);
    await this.#options.audit.record({ event: 'failover-end', promoted: name, epoch: epoch + 1, tookMs });
    this.#saveIfChanged();
    this.#options.urge();
  }

  async #pointAll(
    names: readonly string[],
    upstream: NodeAddress,
    event: 'follow' | 'resume',
  ): Promise<void> {
    const { stepTimeoutMs } = this.#options.config().failover;
    const address = { host: upstream.host, port: upstream.port };
    await Promise.all(
      names.map(async (node) => {
        const record = { event, node, upstream: `${address.host}:${address.port}` };
        try {
          const control = this.#controlOf(node);
          if (event === 'follow') await control.follow(address, stepTimeoutMs);
          else await control.resumeReceiving(address, stepTimeoutMs);
          this.#pendingFollow.delete(node);
          await this.#options.audit.record(record);
        } catch (error) {
          this.#pendingFollow.add(node);
          await this.#options.audit.record({ ...record, error: describeError(error) });
        }
      }),
    );
  }

  /** Replicas that could not be reached during the failover are pointed at the new primary when they are back. */
  #considerFollowers(snapshot: ClusterSnapshot): void {
    const now = this.#options.clock.now();
    if (this.#pendingFollow.size === 0 || now < this.#nextFollowMs) return;
    if (this.#options.config().failover.mode === 'off') return;
    const primary = findNode(snapshot, snapshot.primary)!;
    const known = snapshot.nodes.filter((node) => this.#pendingFollow.has(node.name));
    for (const name of this.#pendingFollow)
      if (name === primary.name || !known.some((node) => node.name === name))
        this.#pendingFollow.delete(name);
    const back = known.filter((node) => node.claims === 'replica' && node.health === 'up' && !node.fenced);
    if (back.length === 0) return;
    this.#nextFollowMs = now + FOLLOW_RETRY_MS;
    const names = back.map((node) => node.name);
    this.#run(() => this.#pointAll(names, primary, 'follow'));
  }

  /** The proxy ended in the middle, or a promotion gave no answer: completed if it has happened, else taken back. */
  #considerUnfinished(snapshot: ClusterSnapshot): void {
    const attempt = this.#attempt;
    const now = this.#options.clock.now();
    if (attempt === null || now < this.#nextAttemptMs) return;
    const candidate = findNode(snapshot, attempt.candidate);
    const old = findNode(snapshot, attempt.oldPrimary);
    if (attempt.step !== 'promote' || candidate === null) {
      this.#unfinished = false;
      this.#run(() => this.#takeBack(old, attempt.stopped));
    } else if (candidate.claims === null || candidate.health !== 'up') {
      const told = `${candidate.name} was told to be the primary and does not answer`;
      this.#verdict(`${told}: whether it is one is not known`);
    } else if (candidate.claims === 'primary') {
      this.#run(() => this.#promoted(candidate.name, attempt.stopped, now));
    } else {
      // Told once, it may still become one: told again, it does.
      this.#nextAttemptMs = now + RETRY_MS;
      this.#run(() => this.#promote(attempt, candidate.name, now));
    }
  }

  async #takeBack(old: NodeSnapshot | null, stopped: readonly string[]): Promise<void> {
    const why = 'the proxy ended during a failover';
    if (old !== null) return this.#undo(old, stopped, new Error(why));
    await this.#save(null);
    const nowMs = this.#options.clock.now();
    this.#options.dispatch({ type: 'failover-ended', verdict: why, blocked: false, nowMs });
  }

  #controlOf(name: string): NodeControl {
    const control = this.#options.control(name);
    if (control === null) throw new Error(`node ${name} is not configured any more`);
    return control;
  }

  /** Resolves once the attempt is on the disk; a step that it names is begun only then. */
  async #save(attempt: FailoverAttempt | null): Promise<void> {
    this.#attempt = attempt;
    this.#saveIfChanged();
    await this.#saving;
  }

  #saveIfChanged(): void {
    const path = this.#options.config().stateFile;
    const snapshot = this.#options.snapshot();
    if (path === null || (snapshot.lastPrimary === null && this.#attempt === null)) return;
    const state: ClusterState = {
      cluster: this.#options.cluster,
      epoch: snapshot.epoch,
      primary: snapshot.lastPrimary,
      fenced: snapshot.nodes.filter((node) => node.fenced).map((node) => node.name),
      pendingFollow: [...this.#pendingFollow],
      lastFailoverAt: this.#lastFailoverAt,
      attempt: this.#attempt,
    };
    const text = JSON.stringify(state);
    if (text === this.#saved) return;
    this.#saved = text;
    this.#saving = this.#saving
      .then(() => saveState(path, state))
      .catch((error: unknown) => {
        this.#options.log.error({ path, error: describeError(error) }, 'the state file cannot be written');
      });
  }
}
