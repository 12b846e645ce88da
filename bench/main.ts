// npm run bench: starts servers and subjects, runs one scenario, prints and writes what came out.
// Exit status: 0 all was measured, 1 something failed or was not there, 2 wrong command line.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { promisify } from 'node:util';
import { startCluster, type TestCluster } from '../test/servers/cluster.js';
import { chart } from './chart.js';
import { raiseFileLimit } from './file-limit.js';
import { idleMemory, idleTable } from './idle-memory.js';
import { type Options, parseOptions, USAGE, UsageError } from './options.js';
import { pgbenchProgram } from './pgbench.js';
import { type CpuProfile, profileLines, type Window } from './profile.js';
import { failed, headOf, type Report, rowsOf, tableOf, troubles } from './report.js';
import { Rounds } from './rounds.js';
import { type LoadScenario, SERVERS, type SubjectName } from './scenarios.js';
import { missing, type Subject, startSubject } from './subjects.js';
import { sysbenchPrepare, sysbenchProgram } from './sysbench.js';

const run = promisify(execFile);
const EXIT = { ok: 0, failed: 1, usage: 2 } as const;
/** Somewhere servers with a process for each connection end; a subject that needs more fails, and that is said. */
const MOST_SERVER_CONNECTIONS = 5_000;

/** Progress is not a result. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function start({ server, clients, subjects }: Options): Promise<TestCluster> {
  const { kind, ...version } = SERVERS[server];
  const most = Math.max(...clients);
  // Those of the run before may still be ending, and Pgpool-II keeps one for each client. The rest is for monitors,
  // pools and us; never less than the servers have by default.
  const wanted = 2 * most + (subjects.includes('pgpool') ? most : 0) + 250;
  const connections = Math.min(wanted, MOST_SERVER_CONNECTIONS);
  const settings =
    kind === 'postgres'
      ? { max_connections: connections, shared_buffers: '256MB' }
      : { 'max-connections': connections, 'innodb-buffer-pool-size': '256M' };
  return startCluster(kind, { replicas: 2, settings, ...version });
}

async function fill(cluster: TestCluster, scenario: LoadScenario, scale: number): Promise<void> {
  const { host, port } = cluster.primary;
  if (scenario.tool === 'pgbench') {
    const { user, password, database } = cluster.user;
    const address = ['--host', host, '--port', String(port), '--username', user];
    await run(
      pgbenchProgram(cluster),
      ['--initialize', '--quiet', '--scale', String(scale), ...address, database],
      { env: { ...process.env, PGPASSWORD: password } },
    );
  } else {
    await run(sysbenchProgram(cluster), sysbenchPrepare(cluster, scenario.script, scale));
  }
  await cluster.waitCaughtUp();
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
  const maxClients = Math.max(...options.clients);
  const startedAt = new Date().toISOString();
  await fill(cluster, scenario, options.scale);
  const subjects: Subject[] = [];
  for (const name of found) {
    try {
      subjects.push(await startSubject(name, cluster, { maxClients, profile: options.profile }));
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
    rows: rowsOf(cells),
    absent,
    complaints,
  } as const;
  return { report, profiles, windows: rounds.windows };
}

function machine(): string {
  return `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`;
}

async function runLoadScenario(options: Options, scenario: LoadScenario, cluster: TestCluster) {
  const { report, profiles, windows } = await load(options, scenario, cluster);
  print([...tableOf(report), `load average before and after: ${report.loadAverages.join(', ')}`]);
  if (profiles.length > 0)
    print(['', "Scheelite's own time, by function:", ...profileLines(profiles, windows)]);
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.chart !== null) {
    const bars = report.rows.map(({ mode, clients, subject, qps }) => ({
      group: `${mode}, ${clients} clients`,
      subject,
      value: qps,
    }));
    const title = `${report.scenario} on ${report.server}`;
    writeFileSync(options.chart, chart(title, 'queries a second, median', bars));
  }
  return failed(report) ? EXIT.failed : EXIT.ok;
}

async function runIdleScenario(options: Options, cluster: TestCluster) {
  const { found, absent } = present(options.subjects);
  const rows = await idleMemory(options, cluster, found, say);
  const missed = troubles({ rows: [], absent, complaints: [] });
  const failures = rows.flatMap((row) =>
    row.failures.map((why) => `FAILED ${row.clients}, ${row.subject}: ${why}`),
  );
  print([...idleTable(rows), ...failures, ...missed]);
  if (options.json !== null) {
    const head = headOf(options, `${options.server} ${cluster.version}`);
    writeFileSync(
      options.json,
      `${JSON.stringify({ ...head, machine: machine(), rows, absent }, null, 2)}\n`,
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

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    print([USAGE]);
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
  // A proxy has two sockets for each client; the load tool and we have ours.
  raiseFileLimit(Math.max(16_384, 2 * Math.max(...options.clients) + 2_000));
  say(`starting ${options.server} with two replicas`);
  const cluster = await start(options);
  try {
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
