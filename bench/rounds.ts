// Runs a load scenario in interleaved rounds: in each, every subject runs once for every mode and number of clients,
// and who comes first changes from round to round, so that a busy minute of the machine hits all alike.

import { setTimeout as sleep } from 'node:timers/promises';
import type { TestCluster } from '../test/servers/cluster.js';
import { until } from '../test/servers/poll.js';
import { ProcessTable } from './cpu.js';
import { LoadFailed, type Run } from './load.js';
import { type LoadRequest, run } from './loads.js';
import type { Options } from './options.js';
import { nowUs, type Window } from './profile.js';
import type { Cell } from './report.js';
import { type LoadScenario, type Mode, rowsPerStatement } from './scenarios.js';
import { type Subject, tooManyClients } from './subjects.js';

/** Statements that fill caches and let code be compiled before anything is measured. */
const WARM_UP_TRANSACTIONS = 4_000;
/** Of a scenario that writes, whose transactions have many statements. */
const WARM_UP_OF_A_MIX = 1_000;
/** For a tool that hangs; a slow one on a busy machine must not be taken for it. */
const PATIENCE_MS = 120_000;
/** Of a run that others took too much of the machine from. */
const MOST_TRIES = 20;
/** So long no process of a server ends, and the run before is over. */
const CALM_MS = 200;

interface Case {
  readonly mode: Mode;
  readonly clients: number;
}

export class Rounds {
  readonly #options: Options;
  readonly #scenario: LoadScenario;
  readonly #cluster: TestCluster;
  readonly #say: (line: string) => void;
  /** When Scheelite was measured: for its CPU profile. */
  readonly windows: Window[] = [];
  readonly #cells: Cell[] = [];
  /** Their warm-up failed: they cannot do this at all, and that stands in the report. */
  readonly #hopeless = new Set<Cell>();

  constructor(options: Options, scenario: LoadScenario, cluster: TestCluster, say: (line: string) => void) {
    this.#options = options;
    this.#scenario = scenario;
    this.#cluster = cluster;
    this.#say = say;
  }

  async run(subjects: readonly Subject[]): Promise<readonly Cell[]> {
    const { modes, clients, rounds } = this.#options;
    const cases = modes.flatMap((mode) => clients.map((count): Case => ({ mode, clients: count })));
    const cellsOf = new Map<Case, readonly (readonly [Subject, Cell])[]>();
    for (const each of cases) {
      const able = subjects.filter(({ name }) => tooManyClients(name, each.clients) === null);
      const pairs = able.map((subject) => [subject, this.#cell(each, subject)] as const);
      cellsOf.set(each, pairs);
      for (const [subject, cell] of pairs) await this.#warmUp(subject, cell);
    }
    for (let round = 0; round < rounds; round++) {
      for (const [i, each] of cases.entries()) {
        for (const [subject, cell] of rotated(cellsOf.get(each) ?? [], round + i)) {
          if (!this.#hopeless.has(cell)) await this.#measure(subject, cell, round);
        }
      }
    }
    return this.#cells;
  }

  #cell({ mode, clients }: Case, subject: Subject): Cell {
    const cell: Cell = { mode, clients, subject: subject.name, runs: [], failures: [] };
    this.#cells.push(cell);
    return cell;
  }

  async #warmUp(subject: Subject, cell: Cell): Promise<void> {
    // Of statements that take seconds one for each client is enough.
    const many = rowsPerStatement(this.#scenario, 1) !== null;
    const until = {
      transactions: many ? cell.clients : this.#scenario.writes ? WARM_UP_OF_A_MIX : WARM_UP_TRANSACTIONS,
    };
    if ((await this.#try(subject, cell, 'warm-up', until)) === null) this.#hopeless.add(cell);
  }

  async #measure(subject: Subject, cell: Cell, round: number): Promise<void> {
    const run = await calmest(this.#options.quiet, async () => {
      await this.#settle();
      const from = nowUs();
      const run = await this.#try(subject, cell, `round ${round + 1}`, { seconds: this.#options.seconds });
      if (subject.name === 'scheelite') this.windows.push({ from, to: nowUs() });
      return run;
    });
    if (run !== null) cell.runs.push(run);
  }

  async #try(subject: Subject, cell: Cell, when: string, until: LoadRequest['until']): Promise<Run | null> {
    const { mode, clients } = cell;
    const title = `${when}: ${mode}, ${clients} clients, ${subject.name}`;
    try {
      const done = await run({
        ...{ scenario: this.#scenario, cluster: this.#cluster, scale: this.#options.scale },
        ...{ subject, mode, clients, until },
        deadlineMs: this.#options.seconds * 1_000 + PATIENCE_MS,
        calm: () => this.#connectionsEnded(),
      });
      const stolen = done.stolen > 0.01 ? `, ${(done.stolen * 100).toFixed(0)} % stolen` : '';
      this.#say(`${title}: ${Number(done.qps.toPrecision(4))} queries/s${stolen}`);
      return done;
    } catch (error) {
      if (!(error instanceof LoadFailed)) throw error;
      this.#say(`${title}: FAILED: ${error.message}`);
      cell.failures.push(...error.reasons.map((reason) => `${when}: ${reason}`));
      return null;
    }
  }

  /** What the run before has left to do must not be charged to the next. */
  async #settle(): Promise<void> {
    await this.#connectionsEnded();
    if (!this.#scenario.writes) return;
    if (this.#scenario.tool === 'pgbench') {
      await this.#cluster.primary.admin('TRUNCATE pgbench_history');
      await this.#cluster.primary.admin('VACUUM pgbench_branches, pgbench_tellers');
    }
    await this.#cluster.waitCaughtUp();
  }

  /** No server has ended a process for a while; only PostgreSQL has one for each connection. */
  async #connectionsEnded(): Promise<void> {
    const roots = this.#cluster.nodes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    let last = Number.NaN;
    await until('the connections of the run before to end', async () => {
      const count = new ProcessTable().trees(roots).length;
      const steady = count >= last;
      last = count;
      if (!steady) await sleep(CALM_MS);
      return steady;
    });
  }
}

/**
 * Makes a run again until others took no more than this share of the machine from one, or its tries are over; answers the one that they
 * took least from. Null: one has failed.
 */
export async function calmest<T extends { readonly stolen: number }>(
  most: number,
  make: () => Promise<T | null>,
): Promise<T | null> {
  let best: T | null = null;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const run = await make();
    if (run === null) return null;
    if (best === null || run.stolen < best.stolen) best = run;
    // Where it is not known, it is none.
    if (!(best.stolen > most)) break;
  }
  return best;
}

/** Over as many rounds as there are, each is once at each place. */
export function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
