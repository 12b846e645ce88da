// What the benchmark makes of the load tools' output, of failures and of CPU profiles; nothing is measured here.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { machineSeconds, ProcessTable } from '../../bench/cpu.js';
import { besideHeavy } from '../../bench/heavy.js';
import { distinct, LoadFailed, type LoadTool, type Run, runLoad } from '../../bench/load.js';
import { parseOptions } from '../../bench/options.js';
import { figures as pgbenchFigures } from '../../bench/pgbench.js';
import { profileLines } from '../../bench/profile.js';
import { type Cell, failed, leftOutOf, type Report, rowsOf } from '../../bench/report.js';
import { calmest, rotated } from '../../bench/rounds.js';
import { histogramPercentile, median, percentile } from '../../bench/statistics.js';
import { figures as sysbenchFigures } from '../../bench/sysbench.js';
import { barsOf, tableOf } from '../../bench/table.js';
import type { TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

test('medians and percentiles', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  const values = Float64Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual(
    [0.5, 0.95, 0.99, 1].map((share) => percentile(values, share)),
    [50, 95, 99, 100],
  );
  const histogram = [
    [0.1, 98],
    [0.2, 1],
    [7, 1],
  ] as const;
  assert.deepEqual(
    [0.5, 0.98, 0.99, 0.999].map((share) => histogramPercentile(histogram, share)),
    [0.1, 0.1, 0.2, 7],
  );
});

const PGBENCH = `number of transactions actually processed: 4000/4000
number of failed transactions: 0 (0.000%)
initial connection time = 15.125 ms
tps = 2000.000000 (without initial connection time)
`;

test('pgbench: statements a second, and every kind of failure', () => {
  const times = Float64Array.of(1, 2, 3);
  assert.deepEqual(pgbenchFigures({ stdout: PGBENCH, stderr: '' }, times, 7), {
    qps: 14_000,
    statements: 28_000,
    p50Ms: 2,
    p95Ms: 3,
    p99Ms: 3,
    deadlocks: 0,
  });
  const reasonsOf = (stdout: string, stderr: string): readonly string[] => {
    try {
      pgbenchFigures({ stdout, stderr }, times, 1);
    } catch (error) {
      if (error instanceof LoadFailed) return error.reasons;
    }
    throw new assert.AssertionError({ message: 'it did not fail' });
  };
  assert.deepEqual(
    reasonsOf(
      PGBENCH,
      'pgbench: error: client 0 script 0 aborted in command 1: x\npgbench: error: client 1 script 0 aborted in command 1: x\n',
    ).length,
    1,
  );
  assert.deepEqual(reasonsOf(PGBENCH.replace('transactions: 0 (', 'transactions: 3 ('), ''), [
    '3 failed transactions',
  ]);
  assert.deepEqual(reasonsOf('', ''), ['no transaction was run']);
});

const SYSBENCH = `[ 1s ] thds: 4 tps: 900.00 qps: 900.00 (r/w/o: 900.00/0.00/0.00) lat (ms,95%): 2.30 err/s: 0.00 reconn/s: 0.00
Latency histogram (values are in milliseconds)
       value  ------------- distribution ------------- count
       1.000 |**************************************** 90
       2.000 |****                                     9
      30.000 |                                         1

SQL statistics:
    queries:                             2000   (990.50 per sec.)
    ignored errors:                      2      (1.00 per sec.)
    reconnects:                          0      (0.00 per sec.)

General statistics:
    total time:                          2.5000s
`;

test('sysbench: the histogram, and every kind of failure', () => {
  assert.deepEqual(sysbenchFigures({ stdout: SYSBENCH, stderr: '' }), {
    // By the total time: the rate has two decimals only.
    qps: 800,
    statements: 2_000,
    p50Ms: 1,
    p95Ms: 2,
    p99Ms: 2,
    deadlocks: 2,
  });
  const broken = [
    SYSBENCH.replace(/reconnects: +0/, 'reconnects: 1'),
    `FATAL: mysql_drv_query() returned error 1290 (x)\n${SYSBENCH}`,
    '',
  ];
  for (const stdout of broken) {
    assert.throws(() => sysbenchFigures({ stdout, stderr: '' }), LoadFailed);
  }
});

function script(text: string): LoadTool {
  return {
    program: 'sh',
    args: ['-c', text],
    env: {},
    progress: () => null,
    figures: () => ({ qps: 1, statements: 1, p50Ms: 1, p95Ms: 1, p99Ms: 1, deadlocks: 0 }),
  };
}

test('a tool that ends badly, hangs or is not there has failed', async () => {
  const groups = { proxy: [], nodes: [] };
  const patience = 600_000;
  await assert.rejects(runLoad(script('echo oh no >&2; exit 3'), groups, patience), (error) => {
    assert.ok(error instanceof LoadFailed);
    assert.deepEqual(error.reasons, ['exit status 3', 'oh no']);
    return true;
  });
  await assert.rejects(runLoad(script('exec sleep 3600'), groups, 100), /not finished after 100 ms/);
  await assert.rejects(
    runLoad({ ...script(''), program: '/there/is/no/such/tool' }, groups, patience),
    LoadFailed,
  );
});

test('errors of many clients are told once', () => {
  const lines = Array.from({ length: 1_000 }, (_, i) => `client ${i} aborted`);
  assert.deepEqual(distinct(lines), ['client N aborted']);
  assert.equal(
    distinct(
      Array.from({ length: 9 }, (_, i) => `error ${i}`),
      5,
    ).at(-1),
    'and 4 other errors',
  );
});

const REPORT: Report = {
  ...{ scenario: 'pg-select', server: 'postgres', seconds: 1, rounds: 2, scale: 1, rowsPerStatement: null },
  ...{ startedAt: '', machine: '', loadAverages: [0, 0], rows: [], absent: [], leftOut: [], complaints: [] },
};

test('a row with a failed round has no figures, and the report says why', () => {
  const run: Run = {
    ...{ qps: 100, statements: 500, p50Ms: 1, p95Ms: 2, p99Ms: 3, deadlocks: 0 },
    cpu: { client: 0.1, proxy: 0.2, server: 0.3, nodes: { node1: 0.3 } },
    stolen: 0,
  };
  const cell = (subject: Cell['subject'], runs: Run[], failures: string[]): Cell => ({
    ...{ mode: 'simple', clients: 4 },
    ...{ subject, runs, failures },
  });
  const rows = rowsOf([
    cell('direct', [{ ...run, qps: 200 }, { ...run, qps: 100 }, run], []),
    cell('scheelite', [{ ...run, qps: 50 }], []),
    cell('haproxy', [run], ['round 2: 3 failed transactions']),
  ]);
  assert.deepEqual(
    rows.map(({ qps, scheeliteRatio }) => [qps, scheeliteRatio]),
    [
      [100, 0.5],
      [50, 1],
      [null, null],
    ],
  );
  const report: Report = { ...REPORT, rows };
  assert.equal(failed(report), true);
  const table = tableOf(report).join('\n');
  assert.match(table, /^simple +4 +haproxy +FAILED/m);
  assert.match(table, /^FAILED simple, 4 clients, haproxy: round 2: 3 failed transactions$/m);
  assert.equal(failed({ ...report, rows: rows.slice(0, 2) }), false);
  const absent = [{ subject: 'pgpool', reason: 'not installed' } as const];
  assert.equal(failed({ ...report, rows: [], absent }), true);
  assert.match(tableOf({ ...report, absent }).join('\n'), /^NOT MEASURED pgpool: not installed$/m);
});

test('many rows: rates and processor time are by rows', () => {
  const run: Run = {
    ...{ qps: 2, statements: 4, p50Ms: 500, p95Ms: 600, p99Ms: 700, deadlocks: 0 },
    // A second of the client for each statement of 500,000 rows.
    cpu: { client: 10_000, proxy: 5_000, server: 20_000, nodes: { node1: 20_000 } },
    stolen: 0.04,
  };
  const cell: Cell = { mode: 'simple', clients: 1, subject: 'direct', runs: [run], failures: [] };
  const rows = rowsOf([cell], 500_000);
  assert.equal(rows[0]!.qps, 2);
  assert.equal(rows[0]!.rowsPerSecond, 1_000_000);
  assert.deepEqual(rows[0]!.cpuSecondsPerMillionRows, {
    ...{ client: 2, proxy: 1, server: 4 },
    nodes: { node1: 4 },
  });
  const report = { ...REPORT, scenario: 'pg-rows', rowsPerStatement: 500_000, rows };
  const table = tableOf(report).join('\n');
  assert.match(table, /rows\/s/);
  assert.match(table, /^simple +1 +direct +1000000 .* 2\.000 +1\.000 +4\.000 +100 % +4 %$/m);
  assert.equal(barsOf(report).bars[0]!.value, 1_000_000);
});

test('neighbours: the ratio of p99 is by round, and what is told is beside the heavy client', () => {
  const run = (p99Ms: number, alone: number): Run => {
    const figures = { qps: 100, statements: 100, p50Ms: 1, p95Ms: 2, p99Ms, deadlocks: 0 };
    return {
      ...figures,
      cpu: { client: 1, proxy: 0, server: 1, nodes: {} },
      stolen: 0,
      neighbours: { alone: { ...figures, qps: 200, p99Ms: alone }, heavyQps: 3 },
    };
  };
  const runs = [run(12, 10), run(40, 20), run(90, 30)];
  const cell = { mode: 'simple' as const, clients: 64, runs, failures: [] };
  const rows = rowsOf([
    { ...cell, subject: 'scheelite' },
    { ...cell, subject: 'pgbouncer' },
  ]);
  const { p99Ms, alone, p99Ratio, heavyQps } = rows[0]!;
  assert.deepEqual([p99Ms, alone?.p99Ms, alone?.qps, p99Ratio, heavyQps], [40, 20, 200, 2, 3]);
  const table = tableOf({ ...REPORT, scenario: 'neighbours', rows }).join('\n');
  const figures = '2\\.00 x +1\\.00 +2\\.00 +40\\.00 +100';
  const beside = '1\\.00 +2\\.00 +20\\.00 +200 +3\\.00 +1\\.000 +0\\.000 +1\\.000 +- +0 %';
  assert.match(table, new RegExp(`^simple +64 +scheelite +${figures} +${beside}$`, 'm'));
  assert.match(table, new RegExp(`^simple +64 +pgbouncer +${figures} +1\\.00 x +${beside}$`, 'm'));
});

test('what needs too many server connections is left out and said, and has not failed', () => {
  const leftOut = leftOutOf({ clients: [16, 1_000, 10_000] }, ['direct', 'scheelite', 'pgbouncer', 'pgpool']);
  assert.deepEqual(
    leftOut.map(({ clients, subject }) => [clients, subject]),
    [
      [1_000, 'pgpool'],
      [10_000, 'direct'],
      [10_000, 'pgpool'],
    ],
  );
  const report = { ...REPORT, leftOut };
  assert.equal(failed(report), false);
  assert.match(tableOf(report).join('\n'), /^LEFT OUT 10000 clients, direct: it needs a server connection/m);
});

test('a heavy client that fails, fails the run', async () => {
  const refused = { host: '127.0.0.1', port: 1 };
  const cluster = {
    kind: 'postgres',
    user: { user: 'nobody', password: '', database: 'none' },
    binaries: { pgbench: '/bin/false' },
  } as unknown as TestCluster;
  const work = () => assert.fail('nothing is measured beside it');
  await assert.rejects(
    besideHeavy(cluster, refused, 'simple', 600_000, work),
    /ended before the others began/,
  );
});

test('options: what depends on the server, and the chart beside the JSON', () => {
  assert.deepEqual(parseOptions(['neighbours']).modes, ['simple']);
  const options = parseOptions(['neighbours', '--server', 'mysql', '--json', 'a/out.json']);
  assert.deepEqual([options.modes, options.json, options.chart], [['text'], 'a/out.json', 'a/out.svg']);
  assert.ok(!options.subjects.includes('pgbouncer') && options.subjects.includes('mysqlrouter'));
  assert.throws(() => parseOptions(['neighbours', '--mode', 'text']), /one of simple, extended, prepared/);
});

test("a process's time includes that of its children, living and ended", async (t) => {
  const work = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done';
  const child = spawn('sh', ['-c', `(${work}); (${work}; sleep 3600) & echo done; wait`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  t.after(() => process.kill(-child.pid!, 'SIGKILL'));
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  const ended = new ProcessTable().cpuSeconds([child.pid!]);
  assert.ok(ended > 0, 'of the child that has ended');
  await until('the second child to have worked as much', () => {
    return new ProcessTable().cpuSeconds([child.pid!]) > 1.5 * ended;
  });
});

test('a profile: only measured time, JavaScript by function, the rest as one', () => {
  const frame = (id: number, functionName: string, url = '', lineNumber = -1) => ({
    id,
    callFrame: { functionName, url, lineNumber },
  });
  const nodes = [
    frame(1, '(idle)'),
    frame(2, 'writeBuffer'),
    frame(3, 'decide', 'file:///x/dist/src/routing/decide.js', 9),
    frame(4, '(garbage collector)'),
  ];
  const samples = [3, 1, 2, 2, 2, 3, 3, 4, 2];
  // The first sample is before the window, the last behind it.
  const timeDeltas = [5, 10, 10, 10, 10, 10, 10, 10, 100];
  const lines = profileLines(
    [{ nodes, samples, timeDeltas, startTime: 1_000 }],
    [{ from: 1_010, to: 1_100 }],
  );
  assert.match(lines[0]!, /^ 50\.0 % {2}of the samples outside JavaScript/);
  assert.deepEqual(lines.slice(1), [
    ' 66.7 %  decide (src/routing/decide.js:10)',
    ' 33.3 %  (garbage collector)',
  ]);
});

test('rounds: who comes first changes, and over as many rounds as there are each has had each place', () => {
  const subjects = ['direct', 'scheelite', 'pgbouncer', 'pgcat'];
  const rounds = Array.from({ length: 2 * subjects.length }, (_, round) => rotated(subjects, round));
  assert.deepEqual(rounds.slice(0, 5), [
    ['direct', 'scheelite', 'pgbouncer', 'pgcat'],
    ['scheelite', 'pgbouncer', 'pgcat', 'direct'],
    ['pgbouncer', 'pgcat', 'direct', 'scheelite'],
    ['pgcat', 'direct', 'scheelite', 'pgbouncer'],
    ['direct', 'scheelite', 'pgbouncer', 'pgcat'],
  ]);
  // From wherever one begins: each case of a round begins with another.
  for (let from = 0; from < subjects.length; from++)
    for (let place = 0; place < subjects.length; place++) {
      const there = rounds.slice(from, from + subjects.length).map((order) => order[place]);
      assert.deepEqual([...there].sort(), [...subjects].sort());
    }
  assert.deepEqual(subjects, ['direct', 'scheelite', 'pgbouncer', 'pgcat'], 'the list stays as it was');
  assert.deepEqual(rotated([], 3), []);
  assert.deepEqual(rotated(['direct'], 3), ['direct']);
});

test('a run that others took too much from is made again, and the calmest counts', async () => {
  const of = async (most: number, ...all: (number | null)[]) => {
    let made = 0;
    const run = await calmest(most, async () => {
      const stolen = all[Math.min(made++, all.length - 1)]!;
      return stolen === null ? null : { stolen };
    });
    return [made, run?.stolen];
  };
  assert.deepEqual(await of(0.05, 0.01), [1, 0.01]);
  assert.deepEqual(await of(0.05, 0.2, 0.05, 0.01), [2, 0.05]);
  assert.deepEqual(await of(1, 0.9), [1, 0.9]);
  assert.deepEqual(await of(0.05, 0.3, null, 0.01), [2, undefined], 'one that fails is not made again');
  assert.deepEqual(await of(0.05, Number.NaN), [1, Number.NaN], 'where it is not known');
  const [made, stolen] = await of(0.05, 0.4, 0.3, 0.35);
  assert.ok(made! > 5);
  assert.equal(stolen, 0.3);
});

test('the time of the machine goes on, and what was stolen is a part of it', async () => {
  const before = machineSeconds();
  await until('the clock to go on', () => machineSeconds().all > before.all);
  const after = machineSeconds();
  assert.ok(after.stolen >= before.stolen && after.stolen - before.stolen <= after.all - before.all);
});
