// A tiny run of the real benchmark, as its users start it: table, JSON and chart come out, and failures are said.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { IdleRow } from '../../bench/idle-memory.js';
import type { LateRow } from '../../bench/late-replicas.js';
import type { Report } from '../../bench/report.js';
import type { SubjectName } from '../../bench/scenarios.js';
import { missing } from '../../bench/subjects.js';
import { type Availability, available, clients, skipWithout } from '../servers/available.js';

const MAIN = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function bench(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, ...printed }));
  });
}

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'scheelite-bench-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Those of the peers that this machine has: an absent one is a test of its own below. */
function here(...names: SubjectName[]): SubjectName[] {
  return names.filter((name) => missing(name) === null);
}

function tool(name: 'pgbench' | 'sysbench'): Availability {
  const program = clients()[name];
  return program === undefined
    ? { available: false, reason: `${name} is not installed` }
    : { available: true, program };
}

const postgres = skipWithout(available('postgres')) || skipWithout(tool('pgbench'));
const mariadb = skipWithout(available('mariadb')) || skipWithout(tool('sysbench'));

function checkReport(
  ended: Ended,
  json: string,
  subjects: readonly SubjectName[],
  modes: string[],
  rateFirst = true,
): Report {
  assert.equal(ended.code, 0, ended.stdout + ended.stderr);
  const report = JSON.parse(readFileSync(json, 'utf8')) as Report;
  assert.deepEqual(
    report.rows.map(({ mode, clients, subject }) => [mode, clients, subject]),
    modes.flatMap((mode) => subjects.map((subject) => [mode, 4, subject])),
  );
  for (const row of report.rows) {
    const { qps, p50Ms, p95Ms, p99Ms } = row;
    const all = JSON.stringify(row);
    assert.deepEqual(row.failures, []);
    assert.ok(qps !== null && qps > 0, all);
    assert.ok(p50Ms !== null && p95Ms !== null && p99Ms !== null, all);
    assert.ok(p50Ms > 0 && p50Ms <= p95Ms && p95Ms <= p99Ms, all);
    assert.equal(row.rounds.length, 1);
    // A line of the table for each, with the same figure.
    const first = rateFirst ? (row.rowsPerSecond ?? qps).toFixed(0) : `${row.p99Ratio!.toFixed(2)} x`;
    assert.match(ended.stdout, new RegExp(`^${row.mode} +4 +${row.subject} +${first} `, 'm'));
  }
  return report;
}

test('pg-select: every subject, table, JSON and chart', { skip: postgres }, async (t) => {
  const folder = folderFor(t);
  const json = join(folder, 'out.json');
  const svg = join(folder, 'out.svg');
  const subjects = here('direct', 'scheelite', 'pgbouncer');
  const ended = await bench(
    ...['pg-select', '--mode', 'simple,prepared', '--clients', '4', '--seconds', '5', '--rounds', '1'],
    ...['--subjects', subjects.join(','), '--scale', '1', '--json', json, '--chart', svg],
  );
  const report = checkReport(ended, json, subjects, ['simple', 'prepared']);
  assert.equal(report.scenario, 'pg-select');

  const of = (subject: SubjectName) =>
    report.rows.find((row) => row.subject === subject && row.mode === 'simple')!;
  const ratio = of('scheelite').qps! / of('direct').qps!;
  assert.ok(Math.abs(of('direct').scheeliteRatio! - ratio) < 0.01);
  // Reads through Scheelite land on replicas, direct ones on the primary; the proxy's own work is seen.
  const direct = of('direct').cpuSecondsPer10k!;
  const ours = of('scheelite').cpuSecondsPer10k!;
  assert.ok(direct.server > 0 && direct.nodes.node1! > 0.5 * direct.server, JSON.stringify(direct));
  assert.ok(ours.server > 0 && ours.nodes.node1! < 0.5 * ours.server, JSON.stringify(ours));
  assert.equal(direct.proxy, 0);
  assert.ok(ours.proxy > 0 && ours.client > 0);

  const chart = readFileSync(svg, 'utf8');
  assert.match(chart, /^<svg /);
  assert.equal(chart.match(/<rect x=/g)?.length, report.rows.length);
});

test('my-point on MariaDB', { skip: mariadb }, async (t) => {
  const json = join(folderFor(t), 'out.json');
  const subjects = here('direct', 'scheelite', 'haproxy');
  const ended = await bench(
    ...['my-point', '--server', 'mariadb', '--mode', 'text', '--clients', '4', '--seconds', '2'],
    ...['--rounds', '1', '--subjects', subjects.join(','), '--scale', '1', '--json', json],
  );
  checkReport(ended, json, subjects, ['text']);
});

/** Every scenario of the rest in its shortest form; what it measures is checked as above. */
for (const { name, mode, skip, more } of [
  { name: 'pg-rows', mode: 'extended', skip: postgres, more: [] },
  { name: 'pg-copy', mode: 'simple', skip: postgres, more: [] },
  { name: 'my-rows', mode: 'text', skip: mariadb, more: ['--server', 'mariadb'] },
  { name: 'neighbours', mode: 'simple', skip: postgres, more: [] },
]) {
  test(name, { skip }, async (t) => {
    const folder = folderFor(t);
    const json = join(folder, 'out.json');
    const ended = await bench(
      ...[name, '--mode', mode, '--clients', '4', '--seconds', '1', '--rounds', '1', '--scale', '1'],
      ...['--subjects', 'direct,scheelite', '--json', json, ...more],
    );
    const report = checkReport(ended, json, ['direct', 'scheelite'], [mode], name !== 'neighbours');
    for (const row of report.rows) {
      const all = JSON.stringify(row);
      if (name === 'neighbours') {
        assert.ok(row.alone!.p99Ms! > 0 && row.p99Ratio! > 0, all);
        continue;
      }
      assert.equal(report.rowsPerStatement, 250_000);
      assert.ok(Math.abs(row.rowsPerSecond! / (row.qps! * 250_000) - 1) < 0.01, all);
      // Counted over the whole run, so that a second is enough.
      const cpu = row.cpuSecondsPerMillionRows!;
      assert.ok(cpu.client > 0 && cpu.server > 0, all);
      assert.equal(cpu.proxy > 0, row.subject === 'scheelite', all);
    }
    // The chart stands beside the JSON.
    assert.match(readFileSync(join(folder, 'out.svg'), 'utf8'), /^<svg /);
  });
}

test('the cost of session consistency: beside the same proxy without it', { skip: postgres }, async (t) => {
  const json = join(folderFor(t), 'out.json');
  const subjects = ['scheelite', 'scheelite-eventual'] as const;
  const ended = await bench(
    ...['pg-mix', '--mode', 'simple', '--clients', '4', '--seconds', '1', '--rounds', '1', '--scale', '1'],
    ...['--subjects', subjects.join(','), '--json', json],
  );
  checkReport(ended, json, subjects, ['simple']);
});

// One of them mostly waits.
describe('beside each other', { concurrency: true }, () => {
  test('consistency: levels over late replicas', { skip: postgres }, async (t) => {
    const json = join(folderFor(t), 'out.json');
    const ended = await bench(
      ...['consistency', '--mode', '20ms', '--levels', 'session,eventual,primary', '--clients', '4'],
      ...['--seconds', '1', '--rounds', '1', '--json', json],
    );
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    const { rows } = JSON.parse(readFileSync(json, 'utf8')) as { rows: LateRow[] };
    const of = (policy: string) => rows.find((row) => row.policy === policy)!;
    assert.deepEqual(rows.map(({ policy }) => policy).sort(), ['eventual', 'primary', 'session']);
    assert.ok(
      rows.every((row) => row.qps! > 0 && row.p50Ms! > 0 && row.p50Ms! <= row.p99Ms!),
      JSON.stringify(rows),
    );
    assert.equal(of('primary').replicaShare, 0);
    assert.equal(of('primary').overPrimary, 1);
    assert.ok(of('eventual').replicaShare! > 0.9, JSON.stringify(rows));
    assert.ok(of('session').replicaShare! <= of('eventual').replicaShare!, JSON.stringify(rows));
    assert.match(ended.stdout, /^ *20ms +4 +primary only +0\.0 % /m);
  });

  test('idle-memory', { skip: postgres }, async (t) => {
    const json = join(folderFor(t), 'out.json');
    const ended = await bench(
      ...['idle-memory', '--clients', '20', '--seconds', '1', '--rounds', '1', '--subjects', 'scheelite'],
      ...['--workers', '2', '--json', json],
    );
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    const { rows } = JSON.parse(readFileSync(json, 'utf8')) as { rows: IdleRow[] };
    assert.equal(rows.length, 1);
    const { rssMiB, pssMiB } = rows[0]!;
    // Three processes of one program.
    assert.ok(pssMiB! > 10 && rssMiB! > pssMiB! + 20, `RSS ${rssMiB}, PSS ${pssMiB} MiB`);
  });
});

test('a wrong command line is explained, with exit status 2', async () => {
  for (const [args, message] of [
    [['nonsense'], /a scenario is missing: one of pg-select/],
    [['pg-select', '--mode', 'text'], /--mode text: one of simple, extended, prepared/],
    [['pg-select', '--clients', '4,x'], /--clients x: a whole number/],
    [['my-point', '--subjects', 'pgbouncer'], /--subjects pgbouncer: it does not speak to mysql/],
    [['pg-select', '--server', 'mysql'], /--server mysql: one of postgres, postgres15/],
  ] as const) {
    const { code, stdout, stderr } = await bench(...args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, message);
    assert.match(stderr, /Usage: npm run bench/);
  }
});
