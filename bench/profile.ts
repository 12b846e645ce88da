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
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface FunctionTime {
  /** `name (file:line)`. */
  readonly name: string;
  /** Of the time in which the process did something. */
  readonly share: number;
  readonly milliseconds: number;
}

/** Waiting for events is not work. */
const IDLE = '(idle)';

function label({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const file = url.replace(/^file:\/\//, '').replace(/^.*?\/(?=(?:src|node_modules)\/)/, '');
  const name = functionName === '' ? '(anonymous)' : functionName;
  return file === '' ? name : `${name} (${file}:${lineNumber + 1})`;
}

/** Time in the functions themselves, without what they call; the most expensive first. */
export function hottest(profiles: readonly CpuProfile[]): FunctionTime[] {
  const times = new Map<string, number>();
  for (const { nodes, samples, timeDeltas } of profiles) {
    const names = new Map(nodes.map(({ id, callFrame }) => [id, label(callFrame)]));
    samples.forEach((id, index) => {
      const name = names.get(id) ?? '(unknown)';
      if (name !== IDLE) times.set(name, (times.get(name) ?? 0) + Math.max(0, timeDeltas[index] ?? 0));
    });
  }
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times]
    .map(([name, time]) => ({ name, share: time / total, milliseconds: time / 1_000 }))
    .sort((a, b) => b.share - a.share);
}

export function profileLines(profiles: readonly CpuProfile[], count = 15): string[] {
  return hottest(profiles)
    .slice(0, count)
    .map(({ name, share }) => `${(share * 100).toFixed(1).padStart(5)} %  ${name}`);
}
