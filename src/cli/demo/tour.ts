// scheelite demo: starts servers and proxy, leads through the steps, keeps them running, cleans up, gives the figures.
// What a step shows is in steps/.

import { basename, relative } from 'node:path';
import { monotonicMs } from '../../lib/clock.js';
import { describeError } from '../../lib/errors.js';
import { CommandFailure } from '../command.js';
import { Application } from './application.js';
import { APPLICATION, DemoCluster } from './cluster.js';
import { findEmbeddedPostgres } from './embedded-postgres.js';
import { StepFailed, until } from './expect.js';
import { Interruption } from './interruption.js';
import { Narrator } from './narrator.js';
import { type DemoProxy, startDemoProxy } from './proxy.js';
import type { Stage, Step } from './step.js';
import { ownWrites } from './steps/own-writes.js';
import { primaryDies } from './steps/primary-dies.js';
import { rejoin } from './steps/rejoin.js';
import { replicaDies } from './steps/replica-dies.js';
import { spread } from './steps/spread.js';
import { write } from './steps/write.js';
import { TempRoot } from './temp-root.js';

const STEPS: readonly Step[] = [write, spread, ownWrites, replicaDies, primaryDies, rejoin];
/** Closing the proxy waits for steps of its monitor; the servers that they wait for go right after. */
const CLOSE_TIMEOUT_MS = 3_000;

export interface DemoOptions {
  /** End after the tour, with the figures as the last line. */
  readonly exit: boolean;
}

interface Outcome {
  readonly ok: boolean;
  readonly report: Readonly<Record<string, unknown>>;
}

/** Resolves with whether every step did what it says. CommandFailure: it could not start, or a signal ended it early. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const found = findEmbeddedPostgres();
  if ('missing' in found) throw new CommandFailure(`scheelite demo: ${found.missing}`);
  // Who read along has gone; the exit handlers clean up.
  process.stdout.on('error', () => process.exit(1));
  const narrator = new Narrator(process.stdout);
  const interruption = new Interruption();
  const root = new TempRoot('scheelite-demo');
  const demo = new Demo(options, root, narrator, interruption.signal);
  let stoppedBy: Parameters<typeof Interruption.exitCode>[0] | null = null;
  let outcome: Outcome | null = null;
  try {
    const ended = await interruption.orSignal(demo.run());
    if ('stoppedBy' in ended) stoppedBy = ended.stoppedBy;
    else {
      outcome = ended.result;
      if (!options.exit) {
        demo.tellWhatRuns();
        await interruption.happened;
      }
    }
  } catch (error) {
    throw new CommandFailure(`scheelite demo: cannot start: ${describeError(error)}`);
  } finally {
    if (interruption.signal.aborted) narrator.line();
    await demo.close();
    root.remove();
  }
  narrator.aside(`Stopped: no server runs any more, ${root.path} is removed.`);
  if (stoppedBy !== null) {
    throw new CommandFailure(`scheelite demo: stopped by ${stoppedBy}`, Interruption.exitCode(stoppedBy));
  }
  if (options.exit) narrator.line(JSON.stringify(outcome!.report));
  return outcome!.ok;
}

class Demo {
  readonly #options: DemoOptions;
  readonly #root: TempRoot;
  readonly #narrator: Narrator;
  readonly #signal: AbortSignal;
  readonly #startedMs = monotonicMs();
  #cluster: DemoCluster | null = null;
  #proxy: DemoProxy | null = null;
  #application: Application | null = null;

  constructor(options: DemoOptions, root: TempRoot, narrator: Narrator, signal: AbortSignal) {
    this.#options = options;
    this.#root = root;
    this.#narrator = narrator;
    this.#signal = signal;
  }

  /** Rejects when it cannot start; a step that fails is an outcome. */
  async run(): Promise<Outcome> {
    const stage = await this.#start();
    const startMs = Math.round(monotonicMs() - this.#startedMs);
    this.#tellAddresses(stage, startMs);
    const figures: Record<string, unknown> = {};
    let failed: string | null = null;
    for (const step of STEPS) {
      this.#signal.throwIfAborted();
      this.#narrator.step(step.title);
      try {
        Object.assign(figures, await step.run(stage));
      } catch (error) {
        this.#signal.throwIfAborted();
        this.#tellFailure(stage, error);
        failed = step.name;
        break;
      }
    }
    return this.#outcome(stage.application, failed, startMs, figures);
  }

  async #start(): Promise<Stage> {
    const [narrator, signal] = [this.#narrator, this.#signal];
    narrator.title('Scheelite demo: a PostgreSQL primary, two replicas, and a proxy in front');
    narrator.line();
    narrator.says(`starting three servers in ${this.#root.path}`);
    const cluster = await DemoCluster.start(this.#root, signal);
    this.#cluster = cluster;
    signal.throwIfAborted();
    const proxy = await startDemoProxy(cluster, this.#root.folder('proxy.log'));
    this.#proxy = proxy;
    await until('the proxy knows all servers', signal, () => {
      const { primary, nodes } = proxy.status();
      const waiting = nodes.filter((node) => !node.takesReads && !node.takesWrites);
      return primary !== null && waiting.length === 0
        ? true
        : `it waits for ${waiting.map((node) => node.name).join(', ')}`;
    });
    const names = cluster.nodes.map((node) => node.name);
    const application = new Application(proxy, names);
    this.#application = application;
    const session = await application.connect();
    return { cluster, proxy, application, session, narrator, signal };
  }

  async close(): Promise<void> {
    this.#application?.drop();
    const closing = this.#proxy?.close().catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      closing,
      new Promise((resolve) => {
        timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      }),
    ]);
    clearTimeout(timer);
  }

  #tellAddresses({ cluster, proxy }: Stage, startMs: number): void {
    const narrator = this.#narrator;
    narrator.says(`PostgreSQL ${cluster.version}, ready after ${(startMs / 1000).toFixed(1)} s`);
    narrator.line();
    for (const { name, host, port, pid } of cluster.nodes) {
      const { role } = proxy.nodeStatus(name);
      narrator.says(`${name}   ${host}:${port}   ${role}   process ${pid}`);
    }
    const [primary] = cluster.nodes;
    narrator.line();
    narrator.says(`without the proxy   ${url(primary!.host, primary!.port)}`);
    narrator.says(`with the proxy      ${url(proxy.host, proxy.port)}`);
    this.#tellCommands(proxy);
  }

  #tellCommands(proxy: DemoProxy): void {
    const narrator = this.#narrator;
    narrator.line();
    narrator.says('In another terminal:');
    narrator.says(`  psql ${url(proxy.host, proxy.port)}`);
    narrator.says(`  ${commandLine()} status --admin ${proxy.admin}`);
  }

  tellWhatRuns(): void {
    const [cluster, proxy] = [this.#cluster!, this.#proxy!];
    const narrator = this.#narrator;
    narrator.line();
    narrator.title('Everything keeps running until Ctrl-C.');
    this.#tellCommands(proxy);
    const { primary } = proxy.status();
    const pid = primary === null ? undefined : cluster.node(primary).pid;
    if (pid !== undefined) narrator.says(`  kill -9 ${pid}   (the primary, ${primary})`);
    narrator.says(`  tail -f ${proxy.logFile}`);
  }

  #tellFailure({ proxy }: Stage, error: unknown): void {
    const [expected, came] =
      error instanceof StepFailed ? [error.expected, error.came] : ['no error', describeError(error)];
    this.#narrator.failed(expected, came);
    const { state, alerts } = proxy.status();
    const unsaid = alerts.filter((alert) => !state.includes(alert));
    for (const line of [`the cluster: ${state}`, ...unsaid]) this.#narrator.says(`  ${line}`);
    if (this.#options.exit) process.stderr.write(`${proxy.logTail()}\n`);
    else this.#narrator.says(`  the log of the proxy: ${proxy.logFile}`);
  }

  #outcome(
    application: Application,
    failed: string | null,
    startMs: number,
    figures: Readonly<Record<string, unknown>>,
  ): Outcome {
    const { acknowledged, reads, readsByNode, staleReads, connectionsLost } = application;
    // What no single step looks at: over the whole tour.
    const ok = failed === null && staleReads === 0 && connectionsLost === 0;
    if (failed === null && !ok)
      this.#narrator.failed(
        'no stale read and no lost connection in the whole tour',
        `${staleReads} stale reads, ${connectionsLost} lost connections`,
      );
    return {
      ok,
      report: {
        writes: acknowledged.length,
        reads,
        readsByNode,
        staleReads,
        ...figures,
        clients: application.connectionsOpened,
        clientReconnects: connectionsLost,
        unknownOutcomes: application.unknownOutcomes,
        startMs,
        tourMs: Math.round(monotonicMs() - this.#startedMs - startMs),
        ...(failed === null ? {} : { failed }),
        ok,
      },
    };
  }
}

function url(host: string, port: number): string {
  const { user, password, database } = APPLICATION;
  return `postgresql://${user}:${password}@${host}:${port}/${database}`;
}

/** How this command line was called, so that its lines can be copied. */
function commandLine(): string {
  const script = process.argv[1] ?? 'scheelite';
  return script.endsWith('.js') ? `node ${relative(process.cwd(), script)}` : basename(script);
}
