// One place for a worker, as the supervisor has it: the process that fills it now, and its successors.
// It decides when the next one is started; what is said to it is the supervisor's business.

import cluster, { type Worker } from 'node:cluster';
import { assert } from '../../lib/assert.js';
import { monotonicMs } from '../../lib/clock.js';
import type { Log } from '../../telemetry/log.js';
import type { ListenerAddress } from '../running-proxy.js';
import { Calls } from './calls.js';
import { watchHandovers } from './handovers.js';
import {
  type FromWorker,
  PROTOCOLS_VARIABLE,
  type ToWorker,
  WORKER_VARIABLE,
  type WorkerCall,
  type WorkerReport,
} from './messages.js';

/**
 * - `forked`: the process starts
 * - `starting`: it has been told what to do, and does not serve yet
 * - `running`: it serves clients
 * - `replacing`: it has ended, the next one is due
 * - `ended`: nobody follows it
 */
export type WorkerState = 'forked' | 'starting' | 'running' | 'replacing' | 'ended';

const MOVES: Record<WorkerState, readonly WorkerState[]> = {
  forked: ['starting', 'replacing', 'ended'],
  starting: ['running', 'replacing', 'ended'],
  running: ['replacing', 'ended'],
  replacing: ['forked', 'ended'],
  ended: [],
};

/** A worker that ends sooner after its start is part of a crash loop, which is slowed down. */
const SOUND_AFTER_MS = 30_000;
const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 10_000;
/** A worker reports every second; one that is silent for so many looks does not serve its clients either. */
const MAX_SILENT_LOOKS = 15;

export interface WorkerEvents {
  message(worker: WorkerHandle, message: FromWorker): void;
  /** The process has ended, whether or not another one follows. */
  ended(worker: WorkerHandle): void;
  /** Whole lines of its log. */
  lines(text: string): void;
}

export class WorkerHandle {
  /** From 0. */
  readonly index: number;
  readonly #protocols: string;
  readonly #events: WorkerEvents;
  readonly #log: Log;
  #state: WorkerState = 'replacing';
  #process: Worker | null = null;
  #calls = new Calls();
  #startedMs = 0;
  #delayMs = FIRST_DELAY_MS;
  #timer: NodeJS.Timeout | null = null;
  #isLast = false;
  #silentLooks = 0;
  restarts = 0;
  lastEnd: string | null = null;
  listeners: readonly ListenerAddress[] = [];
  report: WorkerReport | null = null;

  constructor(index: number, protocols: string, events: WorkerEvents, log: Log) {
    this.index = index;
    this.#protocols = protocols;
    this.#events = events;
    this.#log = log.child({ worker: this.number });
  }

  /** For people: from 1. */
  get number(): number {
    return this.index + 1;
  }

  get state(): WorkerState {
    return this.#state;
  }

  get pid(): number | null {
    return this.#process?.process.pid ?? null;
  }

  /** It has been told of the cluster, and may write to nodes. */
  get isActive(): boolean {
    return this.#state === 'starting' || this.#state === 'running';
  }

  fork(): void {
    this.#transition('forked');
    const worker = cluster.fork({
      [WORKER_VARIABLE]: String(this.number),
      [PROTOCOLS_VARIABLE]: this.#protocols,
    });
    this.#process = worker;
    this.#calls = new Calls();
    this.#startedMs = monotonicMs();
    this.report = null;
    worker.on('message', (message: FromWorker) => {
      if (worker === this.#process) this.#onMessage(message);
    });
    worker.on('error', (error) => this.#log.error({ error: error.message }, 'a worker cannot be reached'));
    const cutThoseUnderWay = watchHandovers(worker.process);
    worker.on('exit', (code, signal) => {
      cutThoseUnderWay();
      this.#onExit(worker, signal ?? `exit code ${code}`);
    });
    passLines(worker, (text) => this.#events.lines(text));
  }

  /** What it is told before `start` it would not understand. */
  start(message: Extract<ToWorker, { type: 'start' }>): void {
    this.#transition('starting');
    this.#send(message);
  }

  send(message: Exclude<ToWorker, { type: 'start' }>): void {
    if (this.isActive) this.#send(message);
  }

  /** Rejects when it ends before it has answered. */
  call(call: WorkerCall): Promise<unknown> {
    return this.#calls.ask((id) => this.send({ type: 'call', id, call }));
  }

  /** No other process follows the present one. */
  last(): void {
    this.#isLast = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#state === 'replacing') this.#transition('ended');
  }

  /**
   * Called every second; ends a worker that hangs. Looks are counted, not time: when this process itself has been stopped, what
   * workers have said meanwhile is heard before the next look.
   */
  look(): void {
    if (this.#state !== 'running' || ++this.#silentLooks < MAX_SILENT_LOOKS) return;
    this.#log.error({ pid: this.pid }, 'a worker hangs: killed');
    this.kill();
  }

  kill(): void {
    this.#process?.process.kill('SIGKILL');
  }

  #send(message: ToWorker): void {
    // One that is gone, its exit tells.
    if (this.#process?.isConnected() === true) this.#process.send(message, () => {});
  }

  #onMessage(message: FromWorker): void {
    this.#silentLooks = 0;
    if (message.type === 'listening') {
      this.listeners = message.listeners;
      this.#transition('running');
    } else if (message.type === 'report') this.report = message.report;
    if (message.type === 'answer' || message.type === 'refusal') this.#calls.answered(message);
    else this.#events.message(this, message);
  }

  #onExit(worker: Worker, why: string): void {
    if (worker !== this.#process) return;
    const pid = this.pid;
    this.#process = null;
    this.lastEnd = why;
    this.#transition(this.#isLast ? 'ended' : 'replacing');
    this.#calls.close(`worker ${this.number} has ended: ${why}`);
    this.#events.ended(this);
    if (this.#isLast) return;
    const livedMs = monotonicMs() - this.#startedMs;
    this.#delayMs = livedMs > SOUND_AFTER_MS ? FIRST_DELAY_MS : Math.min(2 * this.#delayMs, MAX_DELAY_MS);
    this.#log.error(
      { pid, why, livedMs: Math.round(livedMs), nextInMs: this.#delayMs },
      'a worker has ended and is replaced',
    );
    this.#timer = setTimeout(() => {
      this.restarts++;
      this.fork();
    }, this.#delayMs);
  }

  #transition(to: WorkerState): void {
    assert(MOVES[this.#state].includes(to), `a worker cannot go from ${this.#state} to ${to}`);
    this.#state = to;
  }
}

/** Only whole lines, so that those of several processes do not mix. */
function passLines(worker: Worker, pass: (text: string) => void): void {
  let rest = '';
  worker.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const end = text.lastIndexOf('\n') + 1;
    if (end === 0) {
      rest += text;
      return;
    }
    pass(rest + text.slice(0, end));
    rest = text.slice(end);
  });
}
