// Plays histories of several clients at a time, each against the proxy and against the primary itself, compares all that is
// answered, and makes what differs short.

import { type Burst, Generator, type Said } from './generate.js';
import { Talker } from './talk.js';

/** PostgreSQL 18.4 can be made to crash by such histories, without a proxy too: what differs then says nothing. */
export class ServerDied extends Error {
  override readonly name = 'ServerDied';
}

/** So long before it is known of, the other side may have felt it. */
const DYING_MS = 3000;
const MAX_SHORTEN_MS = 20_000;

export interface Stand {
  readonly proxied: { readonly host: string; readonly port: number; readonly database: string };
  readonly bare: { readonly host: string; readonly port: number; readonly database: string };
  readonly user: string;
}

export interface Difference {
  readonly bursts: readonly Burst[];
  readonly text: string;
}

/** How many ReadyForQuery a burst is answered with, as far as it has been answered. */
function due(burst: Burst): (messages: readonly string[]) => number {
  const asked = burst.said.filter(({ kind }) => kind === 'sync' || kind === 'query').length;
  const hasCopySync = burst.said.some(({ kind }) => kind === 'copySync');
  if (!hasCopySync) return () => asked;
  // The Sync behind a COPY that has begun is data.
  return (messages) => asked + (messages.some((message) => message.startsWith('G ')) ? 0 : 1);
}

let beat: Promise<void> | null = null;

/** Who waits for it speaks in one turn with all others who do. */
function nextBeat(): Promise<void> {
  beat ??= new Promise((resolve) => {
    setTimeout(() => {
      beat = null;
      resolve();
    }, 2);
  });
  return beat;
}

async function speak(talker: Talker, burst: Burst, inStep: boolean): Promise<string[]> {
  let from = 0;
  if (inStep) await nextBeat();
  for (const pause of burst.pauses) {
    talker.send(Buffer.concat(burst.said.slice(from, pause).map(({ bytes }) => bytes)));
    await new Promise((resolve) => setTimeout(resolve, 2));
    from = pause;
  }
  talker.send(Buffer.concat(burst.said.slice(from).map(({ bytes }) => bytes)));
  return talker.answers(due(burst));
}

/**
 * Null: both answered alike. 'conflict': as far as it could be compared, and the data may differ now. `isAfterDifference`: they may
 * at the start. `inStep`: at the same time as others.
 */
export async function compare(
  stand: Stand,
  bursts: readonly Burst[],
  isAfterDifference = false,
  inStep = false,
): Promise<Difference | 'conflict' | null> {
  const { user, proxied, bare } = stand;
  const two = await Promise.all(
    [proxied, bare].map((at) => Talker.open(at, { user, database: at.database })),
  );
  const [viaProxy, direct] = two as [Talker, Talker];
  try {
    for (const [at, burst] of bursts.entries()) {
      const [got, expected] = await Promise.all([
        speak(viaProxy, burst, inStep),
        speak(direct, burst, false),
      ]);
      if (isDead(expected)) throw new ServerDied();
      const parameters = [viaProxy, direct].map((talker) => JSON.stringify([...talker.parameters].sort()));
      const isAlike = got.length === expected.length && got.every((line, i) => line === expected[i]);
      if (isAlike && parameters[0] === parameters[1]) continue;
      if ([...got, ...expected].some(isConflict)) return 'conflict';
      // The proxy says that it does not do this (README.md, limits): the rest would differ.
      if (got.some((line) => line.includes('Dscheelite: unsupported-feature'))) return null;
      if (parameters[0] === parameters[1] && isRefusedAlike(got, expected)) continue;
      // What was there before is what it begins with taking away.
      if (at === 0 && isAfterDifference) continue;
      const shownBursts = bursts.slice(0, at + 1).map(show);
      const why = isAlike ? `parameters ${parameters[0]}\n not ${parameters[1]}` : differing(got, expected);
      return { bursts: bursts.slice(0, at + 1), text: `${shownBursts.join('\n')}\n${why}` };
    }
    return null;
  } finally {
    for (const talker of two) talker.close();
  }
}

/** Which one of several transactions cannot be serialized is a matter of time. The proxy's own 40001 is a lost transaction. */
function isConflict(line: string): boolean {
  return line.includes('|C40001|') && !line.includes('|Dscheelite: ');
}

function isDead(lines: readonly string[]): boolean {
  return lines.some((line) => line === 'the connection ended' || line.includes('|C57P02|'));
}

/**
 * In a failed transaction it may refuse what a server still describes, and where a Describe fails it may do so before it has told
 * the parameters: it has to parse the statement first.
 */
function isRefusedAlike(got: readonly string[], expected: readonly string[]): boolean {
  const [ours, theirs] = [got, expected].map(replies) as [string[][], string[][]];
  return (
    ours.length === theirs.length &&
    ours.every((reply, i) => {
      const isRefusal = reply.at(-2) === 'E Bind refused' && reply.at(-1) === 'Z E';
      if (isRefusal && theirs[i]!.at(-1) === 'Z E') return true;
      const untold = theirs[i]!.filter(
        (line, at, all) => !line.startsWith('t ') || !all[at + 1]!.startsWith('E '),
      );
      return String(reply) === String(theirs[i]) || String(reply) === String(untold);
    })
  );
}

/** Each up to its ReadyForQuery. */
function replies(lines: readonly string[]): string[][] {
  const list: string[][] = [[]];
  for (const line of lines) {
    list.at(-1)!.push(line);
    if (line.startsWith('Z ')) list.push([]);
  }
  return list;
}

function differing(got: readonly string[], expected: readonly string[]): string {
  const lines = (list: readonly string[]): string =>
    list.map((line) => `      ${JSON.stringify(line)}`).join('\n');
  return `  through the proxy:\n${lines(got)}\n  directly:\n${lines(expected)}`;
}

function show({ said, pauses }: Burst): string {
  return `  ${said.map(({ shown }) => shown).join(' | ')}${pauses.length > 0 ? ` (pauses ${pauses})` : ''}`;
}

/** What is left when everything without which it still differs has been taken away. */
export async function shorten(stand: Stand, difference: Difference): Promise<Difference> {
  let shortest = difference;
  const end = performance.now() + MAX_SHORTEN_MS;
  const stillDiffers = async (bursts: readonly Burst[]): Promise<boolean> => {
    if (performance.now() > end) return false;
    for (let i = 0; i < 2; i++) {
      const found = await compare(stand, bursts, true);
      if (found === null || found === 'conflict') continue;
      shortest = found;
      return true;
    }
    return false;
  };
  if (!(await stillDiffers(shortest.bursts))) return difference;
  for (
    let size = Math.ceil(shortest.bursts.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  )
    for (
      let at = shortest.bursts.length - 1 - size;
      at >= 1;
      at = Math.min(at - size, shortest.bursts.length - 1 - size)
    )
      await stillDiffers(shortest.bursts.filter((_, i) => i < at || i >= at + size));
  for (let b = shortest.bursts.length - 1; b >= 0; b--)
    for (let m = (shortest.bursts[b]?.said.length ?? 0) - 1; m >= 0; m--) {
      const burst = shortest.bursts[b];
      if (burst === undefined || !mayGo(burst.said, m)) continue;
      const fewer = { said: burst.said.filter((_, i) => i !== m), pauses: [] };
      await stillDiffers(shortest.bursts.map((each, i) => (i === b ? fewer : each)));
    }
  return shortest;
}

/** A burst stays one that is answered. */
function mayGo(said: readonly Said[], at: number): boolean {
  const { kind } = said[at]!;
  if (kind === 'copySync' || kind === 'copyDone' || kind === 'copyFail') return false;
  if (kind === 'query') return !said[at]!.shown.includes('COPY');
  return kind !== 'sync' || (at < said.length - 1 && said[at + 1]!.kind === 'sync');
}

export interface Played {
  readonly histories: number;
  readonly messages: number;
  readonly differences: readonly Difference[];
  /** The server crashed, which ended it. */
  readonly died: boolean;
}

export interface PlayOptions {
  readonly seed: number;
  readonly clients: number;
  readonly bursts: number;
  readonly seconds: number;
  /** It ends with so many. */
  readonly maxDifferences: number;
}

export async function play(stand: Stand, options: PlayOptions): Promise<Played> {
  const { seed, clients, bursts, seconds, maxDifferences } = options;
  const end = performance.now() + seconds * 1000;
  const found: { readonly difference: Difference; readonly atMs: number }[] = [];
  let diedAtMs = Number.POSITIVE_INFINITY;
  let histories = 0;
  let messages = 0;
  const one = async (client: number): Promise<void> => {
    let isAfterDifference = false;
    for (
      let round = 0;
      performance.now() < Math.min(end, diedAtMs) && found.length < maxDifferences;
      round++
    ) {
      const generator = new Generator(seed + round * 1009 + client * 7919, client);
      const history = [generator.first()];
      for (let i = 0; i < bursts; i++) history.push(generator.burst());
      const difference = await compare(stand, history, isAfterDifference, round % 2 === 1);
      isAfterDifference = difference !== null;
      histories++;
      for (const { said } of history) messages += said.length;
      if (difference !== null && difference !== 'conflict')
        found.push({ difference, atMs: performance.now() });
    }
  };
  const whole = async (client: number): Promise<void> => {
    try {
      await one(client);
    } catch (error) {
      // Who comes while it recovers is refused.
      diedAtMs = Math.min(diedAtMs, performance.now());
      if (!(error instanceof ServerDied)) throw error;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: clients }, (_, client) => whole(client)));
  const died = ends.length > 0 && diedAtMs < Number.POSITIVE_INFINITY;
  const differences = found
    .filter(({ atMs }) => atMs < diedAtMs - DYING_MS)
    .map(({ difference }) => difference);
  return {
    histories,
    messages,
    differences: died ? differences : found.map((each) => each.difference),
    died,
  };
}
