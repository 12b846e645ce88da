// Starts Scheelite as its users do: the command line in a process of its own, with a configuration file that names
// the nodes and leaves the rest at its defaults (splitting, classification, session consistency, metrics).

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ServerProcess } from '../src/cli/demo/server-process.js';
import type { ConfigInput } from '../src/config/schema.js';
import { cacheFolder } from '../test/servers/cache.js';
import type { TestCluster } from '../test/servers/cluster.js';
import { until } from '../test/servers/poll.js';
import { newFolder, testRoot } from '../test/servers/root.js';
import type { CpuProfile } from './profile.js';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
const DOCKERFILE = fileURLToPath(new URL('../../Dockerfile', import.meta.url));
/** As README and Dockerfile have it. */
const V8 = ['--max-semi-space-size=32'];
const ENVIRONMENT = { MALLOC_ARENA_MAX: '1' };
const host = '127.0.0.1';

export interface RunningScheelite {
  readonly host: string;
  readonly port: number;
  readonly pid: number | undefined;
  /** Lines of its log of level error and worse. */
  complaints(): string[];
  /** Ends it; the CPU profiles that it wrote, if it was started with `profile`. */
  stop(): Promise<CpuProfile[]>;
}

export interface ScheeliteOptions {
  readonly profile?: boolean;
  readonly level?: 'session' | 'eventual';
  /** As the configuration says it; left out: 1. */
  readonly workers?: number | 'auto';
}

function configFor(cluster: TestCluster, { level = 'session', workers = 1 }: ScheeliteOptions): ConfigInput {
  return {
    workers,
    listeners: [{ name: 'bench', host, port: 0 }],
    clusters: [
      {
        name: 'main',
        protocol: cluster.kind === 'postgres' ? 'postgres' : 'mysql',
        nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
        monitor: cluster.superuser,
        consistency: { level },
      },
    ],
    admin: { host, port: 0 },
  };
}

/** Absolute path of the Node of the image, where test/install has brought it; else of the one that runs the benchmark. */
export function nodeOfScheelite(): string {
  const major = /^FROM node:(\d+)/m.exec(readFileSync(DOCKERFILE, 'utf8'))![1]!;
  const program = join(cacheFolder(), `node-${major}`, 'bin', 'node');
  return existsSync(program) ? program : process.execPath;
}

interface ReadyLine {
  readonly msg: 'ready';
  readonly admin: string;
  readonly listeners: readonly { readonly port: number }[];
}

interface Status {
  readonly clusters: readonly {
    readonly primary: string | null;
    readonly nodes: readonly { readonly takesReads: boolean; readonly takesWrites: boolean }[];
  }[];
}

function lines(log: string): string[] {
  return log.split('\n').filter((line) => line.startsWith('{'));
}

function readyLine(log: string): ReadyLine | undefined {
  const line = lines(log).find((each) => each.includes('"msg":"ready"'));
  return line === undefined ? undefined : (JSON.parse(line) as ReadyLine);
}

/** Node and its flags, and the environment, that Scheelite is started with. */
export function nodeAsServed(): [node: string[], env: NodeJS.ProcessEnv] {
  return [[nodeOfScheelite(), ...V8], { ...process.env, ...ENVIRONMENT }];
}

export async function startScheelite(
  cluster: TestCluster,
  options: ScheeliteOptions = {},
): Promise<RunningScheelite> {
  const folder = newFolder('bench');
  mkdirSync(folder, { mode: 0o700 });
  const config = join(folder, 'proxy.config.json');
  writeFileSync(config, JSON.stringify(configFor(cluster, options)), { mode: 0o600 });
  const logFile = join(folder, 'log');
  const profiling = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${folder}`] : [];
  const [node, env] = nodeAsServed();
  const server = new ServerProcess({
    name: 'scheelite',
    command: () => [...node, ...profiling, MAIN, 'serve', '--config', config],
    as: {},
    env,
    cwd: folder,
    logFile,
    root: testRoot(),
    stopSignal: 'SIGTERM',
    farewell: 'SIGKILL',
    ready: (_pid, log) => readyLine(log()) !== undefined,
  });
  await server.start();
  const { admin, listeners } = readyLine(readFileSync(logFile, 'utf8'))!;
  try {
    await until('scheelite to know all nodes', async () => {
      const answer = await fetch(`http://${admin}/api/v1/status`);
      const [status] = ((await answer.json()) as Status).clusters;
      return status!.primary !== null && status!.nodes.every((node) => node.takesReads || node.takesWrites);
    });
  } catch (error) {
    await server.kill();
    throw new Error(`scheelite: ${server.logTail()}`, { cause: error });
  }
  return {
    host,
    port: listeners[0]!.port,
    get pid() {
      return server.pid;
    },
    complaints() {
      const severe = lines(readFileSync(logFile, 'utf8')).filter((line) =>
        /"level":"?(error|fatal|50|60)\b/.test(line),
      );
      return severe;
    },
    async stop() {
      await server.stop();
      const profiles = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
      const read = profiles.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile);
      rmSync(folder, { recursive: true, force: true });
      return read;
    },
  };
}
