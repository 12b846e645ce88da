// Chooses the load tool of a scenario and runs it once against one subject; which subject and when is the rounds' to say.

import type { TestCluster } from '../test/servers/cluster.js';
import { runCopy } from './copy.js';
import { machineSeconds } from './cpu.js';
import { besideHeavy } from './heavy.js';
import { costOf, type Figures, type Groups, type LoadTool, type Run, runLoad, used } from './load.js';
import { pgbench } from './pgbench.js';
import { type LoadScenario, type Mode, rowsPerStatement } from './scenarios.js';
import type { Subject } from './subjects.js';
import { sysbench } from './sysbench.js';

export interface LoadRequest {
  readonly scenario: LoadScenario;
  readonly cluster: TestCluster;
  readonly subject: Subject;
  readonly mode: Mode;
  readonly clients: number;
  readonly scale: number;
  /** `transactions` in all, at least one for each client. */
  readonly until: { readonly seconds: number } | { readonly transactions: number };
  /** For a tool that hangs. */
  readonly deadlineMs: number;
  /** Resolves when the servers have ended the processes of the connections that were closed. */
  calm(): Promise<void>;
}

function toolFor({ scenario, cluster, subject, mode, clients, scale, until }: LoadRequest): LoadTool {
  if (cluster.kind === 'postgres') {
    const select = { script: 'select-only', statementsPerTransaction: 1 } as const;
    return pgbench(cluster, subject, {
      scenario: scenario.tool === 'pgbench' ? scenario : select,
      ...{ mode, clients },
      until:
        'seconds' in until
          ? until
          : { transactionsPerClient: Math.max(1, Math.ceil(until.transactions / clients)) },
    });
  }
  const script = scenario.tool === 'sysbench' ? scenario.script : 'oltp_point_select';
  return sysbench(cluster, { script }, subject, scale, {
    ...{ mode, clients },
    until: 'seconds' in until ? until : { transactions: Math.max(until.transactions, clients) },
  });
}

type Done = Omit<Run, 'stolen'>;

function groupsOf({ subject, cluster }: LoadRequest): Groups {
  return { proxy: subject.pids, nodes: cluster.nodes };
}

/**
 * Processor time from before the first connection until all have ended: statements that take seconds are too few to be
 * counted by the second, and cost so much that logins do not matter.
 */
async function whole(request: LoadRequest, run: () => Promise<Figures>): Promise<Done> {
  const groups = groupsOf(request);
  const before = used(groups);
  const figures = await run();
  await request.calm();
  return { ...figures, cpu: costOf(before, used(groups), figures.statements, groups) };
}

function justSo(request: LoadRequest): Promise<Done> {
  return runLoad(toolFor(request), groupsOf(request), request.deadlineMs);
}

async function neighbours(request: LoadRequest): Promise<Done> {
  const { cluster, subject, mode, deadlineMs } = request;
  if (!('seconds' in request.until)) return justSo(request);
  const alone = await justSo(request);
  await request.calm();
  const { result, heavyQps } = await besideHeavy(cluster, subject, mode, 3 * deadlineMs, () =>
    justSo(request),
  );
  return { ...result, neighbours: { alone, heavyQps } };
}

/** Throws `LoadFailed`. */
export async function run(request: LoadRequest): Promise<Run> {
  const before = machineSeconds();
  const done = await runOnce(request);
  const after = machineSeconds();
  return { ...done, stolen: (after.stolen - before.stolen) / (after.all - before.all) };
}

function runOnce(request: LoadRequest): Promise<Done> {
  const { scenario, cluster, subject, clients, until, deadlineMs } = request;
  switch (scenario.tool) {
    case 'psql': {
      const copies =
        'seconds' in until ? until : { perClient: Math.max(1, Math.ceil(until.transactions / clients)) };
      return whole(request, () => runCopy(cluster, subject, { clients, until: copies }, deadlineMs));
    }
    case 'neighbours':
      return neighbours(request);
    default:
      return rowsPerStatement(scenario, 1) === null ? justSo(request) : whole(request, () => justSo(request));
  }
}
