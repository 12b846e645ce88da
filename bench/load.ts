// Runs one load tool once and accounts for it: its figures, and the processor time of client, proxy and servers
// while all clients were connected. What the tool's output means is the tool's own file.

import { spawn } from 'node:child_process';
import { endedChildrenSeconds, ProcessTable } from './cpu.js';

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export interface Figures {
  /** Statements a second. */
  readonly qps: number;
  /** In the whole run. */
  readonly statements: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Transactions that the tool ran again by design: deadlocks between its own clients. */
  readonly deadlocks: number;
}

export interface LoadTool {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Of a line that the tool prints every second: the time since its start, and its statements a second since the last. */
  progress(line: string): { readonly seconds: number; readonly qps: number } | null;
  /** Sent to the tool when its progress is that long; where it cannot be trusted to end by itself in time. */
  readonly end?: { readonly afterSeconds: number; readonly signal: NodeJS.Signals };
  /** Throws `LoadFailed` where the output tells of errors. */
  figures(output: Output): Figures;
}

/** The run is worth nothing; every reason is a line of its own. */
export class LoadFailed extends Error {
  readonly reasons: readonly string[];

  constructor(reasons: readonly string[]) {
    super(reasons.join('; '));
    this.reasons = reasons;
  }
}

/** Seconds of processor time for 10,000 statements. */
export interface Cpu {
  readonly client: number;
  readonly proxy: number;
  readonly server: number;
  /** The server's part by node. */
  readonly nodes: Readonly<Record<string, number>>;
}

export interface Run extends Figures {
  readonly cpu: Cpu;
  /** Share of the machine's processor time that went to others than this machine. */
  readonly stolen: number;
  /** Of neighbours: the same clients without the heavy one, and what that one got done. */
  readonly neighbours?: { readonly alone: Figures; readonly heavyQps: number };
}

export interface Groups {
  readonly proxy: readonly number[];
  readonly nodes: readonly { readonly name: string; readonly pid: number | undefined }[];
}

/** Processor time so far, in seconds. */
export interface Used {
  readonly client: number;
  readonly proxy: number;
  readonly nodes: readonly number[];
}

interface Sample extends Used {
  readonly seconds: number;
  readonly qps: number;
}

/** `client` is the load tool's process; without it, all clients that have ended. */
export function used(groups: Groups, client: number | null = null): Used {
  const table = new ProcessTable();
  return {
    client: client === null ? endedChildrenSeconds() : table.cpuSeconds([client]),
    proxy: table.cpuSeconds(groups.proxy),
    nodes: groups.nodes.map(({ pid }) => (pid === undefined ? 0 : table.cpuSeconds([pid]))),
  };
}

/** The first line comes a second after the start, or, where connecting took longer, when all are connected. */
function loadSeconds(samples: readonly Sample[]): number {
  const first = samples[0]!.seconds;
  return samples.at(-1)!.seconds - (first < 1.5 ? 0 : first);
}

/**
 * From the first line of progress to the last but one: connecting is over, and no connection has ended yet (the time
 * of a server's process is lost from view while it ends). So it takes three lines.
 */
function cpuOf(all: readonly Sample[], groups: Groups): Cpu {
  const samples = all.length < 3 ? [] : all.slice(0, -1);
  const first = samples[0];
  const last = samples.at(-1);
  let statements = 0;
  for (let i = 1; i < samples.length; i++) {
    statements += samples[i]!.qps * (samples[i]!.seconds - samples[i - 1]!.seconds);
  }
  return first === undefined || last === undefined ? UNKNOWN : costOf(first, last, statements, groups);
}

const UNKNOWN: Cpu = { client: Number.NaN, proxy: Number.NaN, server: Number.NaN, nodes: {} };

/** What was used between two moments, for 10,000 of the statements that ran between them. */
export function costOf(first: Used, last: Used, statements: number, groups: Groups): Cpu {
  if (statements === 0) return UNKNOWN;
  const per10k = (seconds: number) => (seconds / statements) * 10_000;
  const nodes = groups.nodes.map(({ name }, i) => [name, per10k(last.nodes[i]! - first.nodes[i]!)] as const);
  return {
    client: per10k(last.client - first.client),
    proxy: per10k(last.proxy - first.proxy),
    server: nodes.reduce((sum, [, seconds]) => sum + seconds, 0),
    nodes: Object.fromEntries(nodes),
  };
}

/** Throws `LoadFailed`. `deadlineMs` is for a tool that hangs; it says nothing about speed. */
export async function runLoad(
  tool: LoadTool,
  groups: Groups,
  deadlineMs: number,
): Promise<Omit<Run, 'stolen'>> {
  const child = spawn(tool.program, tool.args, {
    env: { ...process.env, ...tool.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const samples: Sample[] = [];
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    let rest = '';
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const progress = tool.progress(line);
        if (progress === null || child.pid === undefined) continue;
        samples.push({ ...progress, ...used(groups, child.pid) });
        if (tool.end !== undefined && loadSeconds(samples) >= tool.end.afterSeconds)
          child.kill(tool.end.signal);
      }
    });
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, deadlineMs);
  const end = await new Promise<string | null>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === 0 ? null : `exit status ${code ?? signal}`));
  });
  clearTimeout(timer);
  if (late) throw new LoadFailed([`not finished after ${deadlineMs} ms`, ...tail(texts)]);
  try {
    const figures = tool.figures(texts);
    if (end !== null) throw new LoadFailed([end, ...tail(texts)]);
    return { ...figures, cpu: cpuOf(samples, groups) };
  } catch (error) {
    if (error instanceof LoadFailed && end !== null && !error.reasons.includes(end))
      throw new LoadFailed([...error.reasons, end]);
    throw error;
  }
}

function tail({ stdout, stderr }: Output): string[] {
  return `${stdout}\n${stderr}`.trim().split('\n').slice(-3);
}

/** The same line of a thousand clients once, and no more than a few. */
export function distinct(lines: readonly string[], most = 5): string[] {
  const seen = new Set(lines.map((line) => line.replace(/\bclient \d+/, 'client N').trim()));
  const list = [...seen];
  return list.length <= most ? list : [...list.slice(0, most), `and ${list.length - most} other errors`];
}
