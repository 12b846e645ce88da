// One client that runs heavy queries without pause while other work is measured.

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestCluster } from '../test/servers/cluster.js';
import { newFolder } from '../test/servers/root.js';
import { LoadFailed } from './load.js';
import { address, environment, NEVER_SECONDS, pgbenchProgram, type Target } from './pgbench.js';
import type { Mode } from './scenarios.js';
import { sysbenchAddress, sysbenchProgram } from './sysbench.js';

/**
 * Two that take turns: one is silent for long and answers little, the other sorts and answers 20,000 rows. A number
 * that changes keeps the servers from knowing the answer. (MySQL 9.6 took MD5 away.)
 */
const POSTGRES = `\\set n random(1, 1000000)
SELECT bid, count(*), max(md5(filler || aid || :n)) FROM pgbench_accounts GROUP BY bid ORDER BY bid;
SELECT aid, md5(filler || :n) AS label FROM pgbench_accounts WHERE aid % 20 = 0 ORDER BY label LIMIT 20000;
`;

/** sysbench knows no end but by time or count: it is given a file to look for. */
const MYSQL = `local all = "(SELECT k, c FROM sbtest1 UNION ALL SELECT k, c FROM sbtest2 " ..
  "UNION ALL SELECT k, c FROM sbtest3 UNION ALL SELECT k, c FROM sbtest4) AS t"
function thread_init()
  connection = sysbench.sql.driver():connect()
end
function run(sql)
  connection:query(sql):free()
  io.stderr:write("done\\n")
  local stop = io.open(os.getenv("BENCH_STOP_FILE"))
  if stop then
    connection:disconnect()
    os.exit(0)
  end
end
function event()
  local n = sysbench.rand.uniform(1, 1000000)
  run("SELECT k % 10 AS g, COUNT(*), MAX(SHA2(CONCAT(c, " .. n .. "), 256)) FROM " .. all .. " GROUP BY g ORDER BY g")
  run("SELECT id, SHA2(CONCAT(c, " .. n .. "), 256) AS label FROM sbtest1 ORDER BY label LIMIT 20000")
end
`;

interface HeavyTool {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Statements that this line of output says are done. */
  done(line: string): number;
  /** It finishes what it is at and ends by itself with status 0. */
  readonly stop: 'SIGALRM' | { readonly file: string };
}

function toolFor(cluster: TestCluster, target: Target, mode: Mode, folder: string): HeavyTool {
  if (cluster.kind === 'postgres') {
    const script = join(folder, 'heavy.sql');
    writeFileSync(script, POSTGRES);
    return {
      program: pgbenchProgram(cluster),
      args: [
        ...['--no-vacuum', '--file', script, '--protocol', mode, '--client', '1', '--jobs', '1'],
        ...['--time', String(NEVER_SECONDS), '--progress', '1', ...address(cluster, target)],
      ],
      env: environment(cluster),
      // Lines come a second apart; each transaction has two statements.
      done: (line) => 2 * Number(/^progress: [\d.]+ s, ([\d.]+) tps/.exec(line)?.[1] ?? 0),
      stop: 'SIGALRM',
    };
  }
  const script = join(folder, 'heavy.lua');
  const file = join(folder, 'stop');
  writeFileSync(script, MYSQL);
  return {
    program: sysbenchProgram(cluster),
    args: [script, ...sysbenchAddress(cluster, target), '--threads=1', '--time=0', '--events=0', 'run'],
    env: { BENCH_STOP_FILE: file },
    done: (line) => (line === 'done' ? 1 : 0),
    stop: { file },
  };
}

/**
 * Does the work beside a heavy client that has run its first queries. Throws `LoadFailed` where that client failed or
 * ended early. `heavyQps`: what it got done.
 */
export async function besideHeavy<T>(
  cluster: TestCluster,
  target: Target,
  mode: Mode,
  deadlineMs: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly heavyQps: number }> {
  const folder = newFolder('heavy');
  mkdirSync(folder);
  const tool = toolFor(cluster, target, mode, folder);
  const child = spawn(tool.program, tool.args, {
    env: { ...process.env, ...tool.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let done = 0;
  let onFirst = () => {};
  const first = new Promise<void>((resolve) => {
    onFirst = resolve;
  });
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const count = tool.done(line);
        done += count;
        if (count > 0) onFirst();
        else output = `${output}${line}\n`.slice(-2_000);
      }
    });
  }
  const state = { open: true };
  const ended = new Promise<string>((resolve) => {
    const end = (why: string) => {
      state.open = false;
      resolve(why);
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) => end(code === 0 ? '' : `exit status ${code ?? signal}`));
  });
  const fail = (what: string) =>
    new LoadFailed([`the heavy client: ${what}`, ...output.trim().split('\n').slice(-3)]);
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  try {
    await Promise.race([first, ended]);
    if (!state.open) throw fail(`ended before the others began (${await ended})`);
    const before = done;
    const from = performance.now();
    const result = await work();
    const heavyQps = ((done - before) * 1_000) / (performance.now() - from);
    if (!state.open) throw fail(`ended before the others (${await ended})`);
    if (tool.stop === 'SIGALRM') child.kill(tool.stop);
    else writeFileSync(tool.stop.file, '');
    const why = await ended;
    if (why !== '') throw fail(why);
    return { result, heavyQps };
  } finally {
    clearTimeout(timer);
    if (state.open) child.kill('SIGKILL');
    await ended;
    // The server may see only later that its client is gone.
    await sleep(100);
    rmSync(folder, { recursive: true, force: true });
  }
}
