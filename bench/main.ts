// npm run bench: starts servers and subjects, runs one scenario, prints and writes what came out.
// Exit status: 0 all was measured, 1 something failed or was not there, 2 wrong command line.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { startCluster, type TestCluster } from '../test/servers/cluster.js';
import { chart } from './chart.js';
import { raiseFileLimit } from './file-limit.js';
import { fill } from './fill.js';
import { idleMemory, idleTable } from './idle-memory.js';
import { lateReplicas, lateTable } from './late-replicas.js';
import { lexerBench } from './lexer.js';
import { type Options, parseOptions, USAGE, UsageError } from './options.js';
import { type CpuProfile, profileLines, type Window } from './profile.js';
import { failed, headOf, leftOutOf, type Report, rowsOf, troubles } from './report.js';
import { Rounds } from './rounds.js';
import { type LoadScenario, rowsPerStatement, SERVERS, type SubjectName } from './scenarios.js';
import { nodeOfScheelite } from './scheelite.js';
import { connectsEachClient, missing, type Subject, startSubject, tooManyClients } from './subjects.js';
import { barsOf, tableOf } from './table.js';

const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Progress is not a result. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function start({ scenario, server, clients, subjects }: Options): Promise<TestCluster> {
  const { kind, ...version } = SERVERS[server];
  const most = (names: readonly SubjectName[]) =>
    Math.max(0, ...names.flatMap((name) => clients.filter((count) => tooManyClients(name, count) === null)));
  // Those of the run before may still be ending, and Pgpool-II keeps its own. The rest is for monitors, pools and us;
  // never less than the servers have by default.
  const each = subjects.filter((name) => name !== 'pgpool' && connectsEachClient(name));
  const connections = 2 * most(each) + 2 * most(subjects.filter((name) => name === 'pgpool')) + 350;
  const settings =
    kind === 'postgres'
      ? {
          ...{ max_connections: connections, shared_buffers: '256MB' },
          // One client with heavy queries is to be one process of the server: the load is two cores wide as it is.
          ...(scenario.tool === 'neighbours' ? { max_parallel_workers_per_gather: 0 } : {}),
        }
      : { 'max-connections': connections, 'innodb-buffer-pool-size': '256M' };
  return startCluster(kind, { replicas: 2, settings, ...version });
}

interface Absent {
  readonly subject: SubjectName;
  readonly reason: string;
}

function present(names: readonly SubjectName[]): { found: SubjectName[]; absent: Absent[] } {
  const found: SubjectName[] = [];
  const absent: Absent[] = [];
  for (const subject of names) {
    const reason = missing(subject);
    if (reason === null) found.push(subject);
    else absent.push({ subject, reason });
  }
  return { found, absent };
}

async function load(
  options: Options,
  scenario: LoadScenario,
  cluster: TestCluster,
): Promise<{ report: Report; profiles: CpuProfile[]; windows: readonly Window[] }> {
  const { found, absent } = present(options.subjects);
  const startedAt = new Date().toISOString();
  await fill(cluster, scenario, options.scale);
  const subjects: Subject[] = [];
  for (const name of found) {
    const able = options.clients.filter((count) => tooManyClients(name, count) === null);
    if (able.length === 0) continue;
    const maxClients = Math.max(...able);
    try {
      subjects.push(
        await startSubject(name, cluster, { maxClients, workers: options.workers, profile: options.profile }),
      );
    } catch (error) {
      absent.push({ subject: name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  const before = loadavg()[0] ?? Number.NaN;
  const rounds = new Rounds(options, scenario, cluster, say);
  const cells = await rounds.run(subjects);
  const complaints = subjects.flatMap((subject) => subject.complaints());
  const profiles: CpuProfile[] = [];
  for (const subject of subjects) profiles.push(...(await subject.stop()));
  const report = {
    ...headOf(options, `${options.server} ${cluster.version}`),
    startedAt,
    machine: machine(),
    loadAverages: [before, loadavg()[0] ?? Number.NaN],
    rows: rowsOf(cells, rowsPerStatement(scenario, options.scale)),
    absent,
    leftOut: leftOutOf(options, found),
    complaints,
  } as const;
  return { report, profiles, windows: rounds.windows };
}

function machine(): string {
  const { stdout } = spawnSync(nodeOfScheelite(), ['--version'], { encoding: 'utf8' });
  return `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${stdout.trim().slice(1)}`;
}

async function runLoadScenario(options: Options, scenario: LoadScenario, cluster: TestCluster) {
  const { report, profiles, windows } = await load(options, scenario, cluster);
  print([...tableOf(report), `load average before and after: ${report.loadAverages.join(', ')}`]);
  if (profiles.length > 0)
    print(['', "Scheelite's own time, by function:", ...profileLines(profiles, windows)]);
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.chart !== null) {
    const { unit, bars } = barsOf(report);
    const title = `${report.scenario} on ${report.server}`;
    writeFileSync(options.chart, chart(title, unit, bars));
  }
  return failed(report) ? EXIT.failed : EXIT.ok;
}

async function runIdleScenario(options: Options, cluster: TestCluster) {
  const { found, absent } = present(options.subjects);
  const rows = await idleMemory(options, cluster, found, say);
  const leftOut = leftOutOf(options, found);
  const missed = troubles({ rows: [], absent, leftOut, complaints: [] });
  const failures = rows.flatMap((row) =>
    row.failures.map((why) => `FAILED ${row.clients}, ${row.subject}: ${why}`),
  );
  print([...idleTable(rows), ...failures, ...missed]);
  if (options.json !== null) {
    const head = headOf(options, `${options.server} ${cluster.version}`);
    writeFileSync(
      options.json,
      `${JSON.stringify({ ...head, machine: machine(), rows, absent, leftOut }, null, 2)}\n`,
    );
  }
  if (options.chart !== null) {
    const bars = rows.map(({ clients, subject, rssMiB }) => ({
      group: `${clients} idle clients`,
      subject,
      value: rssMiB,
    }));
    writeFileSync(options.chart, chart('idle-memory', 'resident memory in MiB, median', bars));
  }
  return failures.length > 0 || absent.length > 0 ? EXIT.failed : EXIT.ok;
}

async function runLateScenario(options: Options, cluster: TestCluster) {
  const startedAt = new Date().toISOString();
  const before = loadavg()[0] ?? Number.NaN;
  const rows = await lateReplicas(options, cluster, say);
  const loadAverages = [before, loadavg()[0] ?? Number.NaN];
  const failures = rows.flatMap((row) =>
    row.failures.map((why) => `FAILED ${row.mode}, ${row.policy}: ${why}`),
  );
  print([...[...lateTable(rows), ...failures], `load average before and after: ${loadAverages.join(', ')}`]);
  if (options.json !== null) {
    const head = headOf(options, `${options.server} ${cluster.version}`);
    const report = { ...head, thinkMs: options.thinkMs, startedAt, machine: machine(), loadAverages, rows };
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  return failures.length > 0 ? EXIT.failed : EXIT.ok;
}

/** Of any one process: a proxy has a socket for each client, some have two; so many have the load tool and we. */
function filesOf({ clients, subjects }: Options): number {
  const sockets = clients.flatMap((count) =>
    subjects
      .filter((name) => tooManyClients(name, count) === null)
      .map((name) => (connectsEachClient(name) ? 2 : 1) * count),
  );
  return Math.max(16_384, ...sockets.map((count) => count + 2_000));
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    print([USAGE]);
    return EXIT.ok;
  }
  if (args[0] === 'lexer') {
    await lexerBench(args.slice(1));
    return EXIT.ok;
  }
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`${error.message}\n\n${USAGE}`);
    return EXIT.usage;
  }
  const { scenario } = options;
  raiseFileLimit(filesOf(options));
  say(`starting ${options.server} with two replicas`);
  const cluster = await start(options);
  try {
    if (scenario.tool === 'late') return await runLateScenario(options, cluster);
    if (scenario.tool === 'idle') return await runIdleScenario(options, cluster);
    return await runLoadScenario(options, scenario, cluster);
  } finally {
    await cluster.stop();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = EXIT.failed;
}
