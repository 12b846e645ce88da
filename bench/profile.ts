// Summarizes V8's CPU profiles (as `node --cpu-prof` writes them) by function.

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  /** Microseconds of the system's monotonic clock, the one of `process.hrtime`. */
  readonly startTime: number;
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface Hottest {
  /** Share of the busy time outside JavaScript: system calls, mostly sending, and waiting for a processor. */
  readonly outside: number;
  readonly functions: readonly FunctionTime[];
}

export interface FunctionTime {
  /** `name (file:line)`. */
  readonly name: string;
  /** Of the time in JavaScript, garbage collection included. */
  readonly share: number;
}

/** Microseconds of the monotonic clock. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

const COLLECTOR = '(garbage collector)';

type Frame = CpuProfile['nodes'][number]['callFrame'];

function label({ functionName, url, lineNumber }: Frame): string {
  const file = url.replace(/^file:\/\//, '').replace(/^.*?\/(?=(?:src|node_modules)\/)/, '');
  return file === '' ? functionName : `${functionName || '(anonymous)'} (${file}:${lineNumber + 1})`;
}

/**
 * Samples in the functions themselves, without what they call, while one of the windows was open. The profiler's
 * signal reaches a thread when it comes back from the kernel, so system calls and the time without a processor
 * look longer than they are, and are kept apart: the shares are of JavaScript only.
 */
export function hottest(profiles: readonly CpuProfile[], windows: readonly Window[]): Hottest {
  const counts = new Map<string, number>();
  let outside = 0;
  let inside = 0;
  for (const { nodes, samples, timeDeltas, startTime } of profiles) {
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
    let now = startTime;
    samples.forEach((id, index) => {
      now += timeDeltas[index] ?? 0;
      const frame = frames.get(id);
      if (frame === undefined || frame.functionName === '(idle)') return;
      if (!windows.some(({ from, to }) => now >= from && now <= to)) return;
      // What has no file is native code.
      if (frame.url === '' && frame.functionName !== COLLECTOR) {
        outside++;
        return;
      }
      inside++;
      const name = label(frame);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    });
  }
  return {
    outside: outside / Math.max(1, outside + inside),
    functions: [...counts]
      .map(([name, count]) => ({ name, share: count / inside }))
      .sort((a, b) => b.share - a.share),
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)} %`;
}

export function profileLines(
  profiles: readonly CpuProfile[],
  windows: readonly Window[],
  count = 15,
): string[] {
  const { outside, functions } = hottest(profiles, windows);
  return [
    `${percent(outside)}  of the samples outside JavaScript (system calls, waiting for a processor); of the others:`,
    ...functions.slice(0, count).map(({ name, share }) => `${percent(share)}  ${name}`),
  ];
}
