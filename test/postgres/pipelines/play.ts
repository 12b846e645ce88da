// Plays histories of several clients at a time, each against the proxy and against the primary itself, compares all that is
// answered, and makes what differs short.

import { type Burst, Generator, type Said } from './generate.js';
import { Talker } from './talk.js';

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

async function speak(talker: Talker, burst: Burst): Promise<string[]> {
  let from = 0;
  for (const pause of burst.pauses) {
    talker.send(Buffer.concat(burst.said.slice(from, pause).map(({ bytes }) => bytes)));
    await new Promise((resolve) => setTimeout(resolve, 2));
    from = pause;
  }
  talker.send(Buffer.concat(burst.said.slice(from).map(({ bytes }) => bytes)));
  return talker.answers(due(burst));
}

/** Null: both answered alike. */
export async function compare(stand: Stand, bursts: readonly Burst[]): Promise<Difference | null> {
  const { user, proxied, bare } = stand;
  const two = await Promise.all(
    [proxied, bare].map((at) => Talker.open(at, { user, database: at.database })),
  );
  const [viaProxy, direct] = two as [Talker, Talker];
  try {
    for (const [at, burst] of bursts.entries()) {
      const [got, expected] = await Promise.all([speak(viaProxy, burst), speak(direct, burst)]);
      const parameters = [viaProxy, direct].map((talker) => JSON.stringify([...talker.parameters].sort()));
      const isAlike = got.length === expected.length && got.every((line, i) => line === expected[i]);
      if (isAlike && parameters[0] === parameters[1]) continue;
      const shownBursts = bursts.slice(0, at + 1).map(show);
      const why = isAlike ? `parameters ${parameters[0]}\n not ${parameters[1]}` : differing(got, expected);
      return { bursts: bursts.slice(0, at + 1), text: `${shownBursts.join('\n')}\n${why}` };
    }
    return null;
  } finally {
    for (const talker of two) talker.close();
  }
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
      const found = await compare(stand, bursts);
      if (found === null) continue;
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
  const differences: Difference[] = [];
  let histories = 0;
  let messages = 0;
  const one = async (client: number): Promise<void> => {
    for (let round = 0; performance.now() < end && differences.length < maxDifferences; round++) {
      const generator = new Generator(seed + round * 1009 + client * 7919, client);
      const history = [generator.first()];
      for (let i = 0; i < bursts; i++) history.push(generator.burst());
      const found = await compare(stand, history);
      histories++;
      for (const { said } of history) messages += said.length;
      if (found !== null) differences.push(found);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => one(client)));
  return { histories, messages, differences };
}
