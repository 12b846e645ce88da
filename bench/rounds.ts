// Runs a load scenario in interleaved rounds: in each, every subject runs once for every mode and number of clients,
// and who comes first changes from round to round, so that a busy minute of the machine hits all alike.

import { setTimeout as sleep } from 'node:timers/promises';
import type { TestCluster } from '../test/servers/cluster.js';
import { until } from '../test/servers/poll.js';
import { ProcessTable } from './cpu.js';
import { type Groups, LoadFailed, type LoadTool, type Run, runLoad } from './load.js';
import type { Options } from './options.js';
import { pgbench } from './pgbench.js';
import { nowUs, type Window } from './profile.js';
import type { Cell } from './report.js';
import type { LoadScenario, Mode } from './scenarios.js';
import type { Subject } from './subjects.js';
import { sysbench } from './sysbench.js';

/** Statements that fill caches and let code be compiled before anything is measured. */
const WARM_UP_TRANSACTIONS = 4_000;
/** For a tool that hangs; a slow one on a busy machine must not be taken for it. */
const PATIENCE_MS = 120_000;
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
      const pairs = subjects.map((subject) => [subject, this.#cell(each, subject)] as const);
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
    const { mode, clients } = cell;
    const transactions = Math.max(WARM_UP_TRANSACTIONS, clients);
    const scenario = this.#scenario;
    const tool =
      scenario.tool === 'pgbench'
        ? pgbench(this.#cluster, subject, {
            ...{ scenario, mode, clients },
            until: { transactionsPerClient: Math.ceil(transactions / clients) },
          })
        : sysbench(this.#cluster, scenario, subject, this.#options.scale, {
            ...{ mode, clients },
            until: { transactions },
          });
    if ((await this.#try(tool, subject, cell, 'warm-up')) === null) this.#hopeless.add(cell);
  }

  async #measure(subject: Subject, cell: Cell, round: number): Promise<void> {
    const { mode, clients } = cell;
    const seconds = this.#options.seconds;
    const scenario = this.#scenario;
    await this.#settle();
    const tool =
      scenario.tool === 'pgbench'
        ? pgbench(this.#cluster, subject, {
            ...{ scenario, mode, clients },
            until: { seconds },
          })
        : sysbench(this.#cluster, scenario, subject, this.#options.scale, {
            ...{ mode, clients },
            until: { seconds },
          });
    const from = nowUs();
    const run = await this.#try(tool, subject, cell, `round ${round + 1}`);
    if (run !== null) cell.runs.push(run);
    if (subject.name === 'scheelite') this.windows.push({ from, to: nowUs() });
  }

  async #try(tool: LoadTool, subject: Subject, cell: Cell, when: string): Promise<Run | null> {
    const title = `${when}: ${cell.mode}, ${cell.clients} clients, ${subject.name}`;
    const groups: Groups = { proxy: subject.pids, nodes: this.#cluster.nodes };
    const deadlineMs = this.#options.seconds * 1_000 + PATIENCE_MS;
    try {
      const run = await runLoad(tool, groups, deadlineMs);
      this.#say(`${title}: ${run.qps.toFixed(0)} queries/s`);
      return run;
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

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
