// Plays stories, each through the proxy and on the primary itself, compares every packet of every reply, and makes what differs
// short. Several at a time, so that server connections change hands.

import { Random } from '../../storm/random.js';
import { isGone, isRefused, Limits } from './limits.js';
import type { Flavor } from './material.js';
import { formOf, packetOf, type Side, type Step, shown } from './steps.js';
import { Ended, FLAG, lengthEncoded, statusAt, Talker } from './talk.js';
import { type Story, tell } from './tell.js';

const MAX_SHORTEN_MS = 40_000;
const SLOTS = 6;

export interface Stand {
  readonly flavor: Flavor;
  readonly user: string;
  readonly proxied: { readonly host: string; readonly port: number };
  readonly bare: { readonly host: string; readonly port: number };
}

/** Of one length, so that nothing else of a packet differs when one is put in the place of the other. */
export const DATABASES = { proxied: 'app', bare: 'twn' } as const;
/** The tables of this number are those of clients that only take others' server connections. */
export const NOISE = 0;
export { SLOTS };

export interface Difference {
  readonly story: Story;
  readonly text: string;
}

/** `limit`: the proxy said that it does not do this (README, limits), and there is nothing more to compare. */
type End = 'whole' | 'limit' | Difference;

const SLOW = 0x0800;

/** What must differ by nature is taken out; all else stays byte by byte. */
function plain(frame: Buffer, step: Step, isFirst: boolean): string {
  // How a proof is asked for is not compared.
  const head = step.kind === 'change-user' ? '' : `${frame[3]} `;
  let payload = frame.subarray(4);
  if (step.kind === 'statistics') return head + payload.toString('latin1', 0, 6);
  const isOk = payload[0] === 0xfe || payload[0] === 0;
  if (step.kind === 'prepare' && isFirst && payload[0] === 0) {
    // The proxy's statements have ids of their own.
    payload.writeUInt32LE(0, 1);
    return head + payload.toString('latin1');
  }
  if (isOk && isEnd(frame, step, isFirst)) {
    // How busy the machine is.
    const at = statusAt(frame);
    // MariaDB says it in EOF packets too, which tell no more; the proxy takes out what it has asked for itself.
    if (frame.length === 9) frame.writeUInt16LE(frame.readUInt16LE(at) & ~CHANGED, at);
    frame.writeUInt16LE(frame.readUInt16LE(at) & ~SLOW, at);
    // MySQL tells the warnings of the statement before, which the proxy has not kept.
    if (step.kind === 'execute' && step.cursor) frame.writeUInt16LE(0, frame.length === 9 ? 5 : at + 2);
    if (step.kind === 'ping' || step.kind === 'use') frame.writeUInt16LE(0, at + 2);
    if (step.kind === 'set-option') frame.writeUInt16LE(0, frame.length === 9 ? 5 : at + 2);
  }
  if (isOk && isEnd(frame, step, isFirst)) payload = withPlainChanges(frame);
  let text = payload.toString('latin1').replaceAll(DATABASES.bare, DATABASES.proxied);
  // What another client has prepared leaves in a server connection that a variable was spoken of, which its type then tells.
  const variable = text.startsWith('\x03def\0\0\0') ? /^.{8}@\w+/s.exec(text) : null;
  if (variable !== null) return head + variable[0];
  if (payload[0] !== 0xff) return head + text;
  // It is cut, perhaps in the middle of a name.
  text = text.replace(/( near '.{30}).*$/s, '$1');
  // Of parameters MariaDB counts the rows on from whatever its connection did before.
  if (step.kind === 'execute') text = text.replace(/ at row \d+$/, ' at row N');
  text = text.replace(/(handler|statement) \((\d+|stmt \d+)\)/, '$1 (ID)');
  return head + text;
}

const CHANGED = 0x4000;
const TRANSACTION_STATE = 5;

/**
 * MySQL tells them, session_track_transaction_info = OFF or not, with the OK of BEGIN and with the next that comes: which that is
 * differs where the proxy answers BEGIN by itself, or asks something of its own.
 */
function withPlainChanges(frame: Buffer): Buffer {
  const payload = frame.subarray(4);
  const at = statusAt(frame);
  const status = frame.readUInt16LE(at);
  if ((status & CHANGED) === 0 || frame.length <= at + 4) return payload;
  const info = lengthEncoded(frame, at + 4);
  const changes = lengthEncoded(frame, info.end + info.value);
  const kept: Buffer[] = [];
  // A row, of which this is something else.
  if (!(changes.end + changes.value === frame.length)) return payload;
  for (let from = changes.end; from < frame.length; ) {
    const block = lengthEncoded(frame, from + 1);
    const end = block.end + block.value;
    if (frame[from] !== TRANSACTION_STATE) kept.push(frame.subarray(from, end));
    from = end;
  }
  // MariaDB tells variables in the order of a hash table.
  kept.sort(Buffer.compare);
  if (kept.length > 0) return Buffer.concat([payload.subarray(0, info.end + info.value - 4), ...kept]);
  frame.writeUInt16LE(status & ~CHANGED, at);
  return payload.subarray(0, info.value === 0 ? at : info.end + info.value - 4);
}

/** Roughly: a row may begin with 0 too, and is the same on both sides then. */
function isEnd(frame: Buffer, step: Step, isFirst: boolean): boolean {
  if (frame[4] === 0 && !isFirst && step.kind !== 'query') return false;
  if (frame.length < 9 || frame.length > 1000) return false;
  return !(Number.isNaN(statusAt(frame)) || statusAt(frame) + 2 > frame.length);
}

async function said(talker: Talker, side: Side, step: Step): Promise<string[]> {
  if (step.kind === 'query') talker.file = step.file ?? '';
  let reply: readonly Buffer[];
  let ended = false;
  try {
    reply = await talker.talk(packetOf(step, side), formOf(step));
  } catch (error) {
    if (!(error instanceof Ended)) {
      const part = talker.part.map((frame) => quoted(frame.toString('latin1', 3))).join('\n');
      throw new Error(`${side.database}: ${shown(step)}\n${part}`, { cause: error });
    }
    reply = talker.part;
    ended = true;
  }
  const [first] = reply;
  if (step.kind === 'prepare') {
    if (first?.[4] === 0) side.ids.set(step.name, first.readUInt32LE(5));
    else side.ids.delete(step.name);
  }
  const lines = reply.map((frame, i) => plain(frame, step, i === 0));
  return ended ? [...lines, 'the connection ended'] : lines;
}

export interface Counts {
  stories: number;
  steps: number;
  whole: number;
  /** Questions about a last statement whose server connection another client has had (README, limits). */
  gone: number;
}

/** `from`: what is before it may differ. */
async function compare(stand: Stand, story: Story, counts: Counts, from = 0): Promise<End> {
  let flags = story.old ? FLAG.FOUND_ROWS : FLAG.DEPRECATE_EOF | FLAG.MULTI_STATEMENTS;
  flags |= FLAG.LOCAL_FILES | (story.tracks ? FLAG.SESSION_TRACK : 0);
  const side = (database: string): Side => ({ database, user: stand.user, ids: new Map() });
  const sides = [side(DATABASES.proxied), side(DATABASES.bare)] as const;
  const [proxied, bare] = await Promise.all([
    Talker.open(stand.proxied, stand.user, DATABASES.proxied, flags),
    Talker.open(stand.bare, stand.user, DATABASES.bare, flags),
  ]);
  try {
    const limits = new Limits();
    for (const [at, step] of story.steps.entries()) {
      const [actual, expected] = await Promise.all([
        said(proxied, sides[0], step),
        said(bare, sides[1], step),
      ]).catch((error: Error) => {
        const before = story.steps.slice(0, at).map(shown).join('\n');
        throw new Error(`${before}\n${error.message}`, { cause: error });
      });
      counts.steps++;
      limits.sees(step, expected);
      const isExcused = limits.excuses(step);
      limits.judged(step, expected);
      if (actual.length === expected.length && actual.every((line, i) => line === expected[i])) {
        if (actual.at(-1) === 'the connection ended') break;
        continue;
      }
      if (at < from || isExcused) continue;
      if (isRefused(step, actual, expected)) return 'limit';
      if (isGone(actual)) {
        if (step.kind === 'query' && step.sql.startsWith('GET')) return 'limit';
        counts.gone++;
        limits.isGone();
        continue;
      }
      const steps = story.steps.slice(0, at + 1);
      const list = (lines: readonly string[]): string =>
        lines.map((line) => `      ${quoted(line)}`).join('\n');
      const flagsShown = `${story.old ? 'old' : 'new'}${story.tracks ? ', tracks' : ''}`;
      const text = `(${flagsShown})\n${steps.map((each) => `  ${shown(each)}`).join('\n')}\n  through the proxy:\n${list(actual)}\n  directly:\n${list(expected)}`;
      return { story: { ...story, steps }, text };
    }
    return 'whole';
  } finally {
    proxied.close();
    bare.close();
  }
}

function quoted(line: string): string {
  const hex = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  return `"${line.replace(/[^ -~]/g, hex)}"`;
}

/** What a client finds that comes behind others: everything as after a login. */
function newcomer(n: number): Story {
  const queries = [
    'SELECT @@sql_mode, @@time_zone, @@autocommit, @@sort_buffer_size, @@group_concat_max_len, @@sql_select_limit, @@max_error_count',
    'SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection',
    'SELECT @v, @w, @x, @left, DATABASE(), CURRENT_ROLE(), LAST_INSERT_ID(), @@completion_type',
    'SELECT @@sql_mode, @@time_zone, @@autocommit, @@insert_id, @@sql_notes FROM a0 WHERE id = 1 FOR UPDATE',
    `SELECT * FROM tmp${n}`,
    'EXECUTE q USING @v',
    'SELECT UNIX_TIMESTAMP() = 1000000000, @@foreign_key_checks, @@unique_checks',
    `UPDATE a0 SET v = 'noise' WHERE id = ${n}`,
    'SELECT @@sql_mode, @@time_zone, @@autocommit, @@foreign_key_checks FROM a0 WHERE id = 1 FOR UPDATE',
    'ROLLBACK',
    `SELECT v FROM a0 WHERE id = ${n}`,
  ];
  const steps = queries.map((sql): Step => ({ kind: 'query', sql }));
  return { old: false, tracks: true, first: 0, steps };
}

export interface Played extends Counts {
  readonly differences: readonly Difference[];
}

export interface PlayOptions {
  readonly seed: number;
  readonly stories: number;
  readonly seconds: number;
  readonly length: number;
  /** It ends with so many. */
  readonly maxDifferences: number;
}

export async function play(stand: Stand, options: PlayOptions): Promise<Played> {
  const { seed, stories, seconds, length, maxDifferences } = options;
  const end = performance.now() + seconds * 1000;
  const counts: Counts = { stories: 0, steps: 0, whole: 0, gone: 0 };
  const differences: Difference[] = [];
  let next = 0;
  const slot = async (n: number): Promise<void> => {
    while (next < stories && differences.length < maxDifferences && performance.now() < end) {
      const number = next++;
      const story = tell(stand.flavor, seed + number * 7919, n, length);
      const result = await compare(stand, story, counts, story.first);
      counts.stories++;
      if (result === 'whole') counts.whole++;
      if (typeof result === 'object') {
        differences.push({ ...result, text: `story ${number} ${result.text}` });
        continue;
      }
      const found = await compare(stand, newcomer(n), counts);
      if (typeof found !== 'object') continue;
      const before = story.steps.slice(story.first).map((step) => `  ${shown(step)}`);
      differences.push({ ...found, text: `behind story ${number}\n${before.join('\n')}\n${found.text}` });
    }
  };
  await Promise.all(Array.from({ length: SLOTS }, (_, i) => slot(i + 1)));
  return { ...counts, differences };
}

/** One after the other, each behind the first steps of every story. */
export async function playKnown(
  stand: Stand,
  n: number,
  beginning: readonly Step[],
  stories: readonly Story[],
): Promise<Played> {
  const counts: Counts = { stories: 0, steps: 0, whole: 0, gone: 0 };
  const differences: Difference[] = [];
  for (const story of stories) {
    const found = await compare(
      stand,
      { ...story, steps: [...beginning, ...story.steps] },
      counts,
      beginning.length,
    );
    counts.stories++;
    if (found === 'whole') counts.whole++;
    const behind = typeof found === 'object' ? found : await compare(stand, newcomer(n), counts);
    if (typeof behind !== 'object') continue;
    const before = story.steps.map((step) => `  ${shown(step)}`).join('\n');
    differences.push({ ...behind, text: `${before}\n${behind.text}` });
  }
  return { ...counts, differences };
}

/** Clients with other states, who take what others gave back; until `stop` is called. */
export function makeNoise(stand: Stand): { stop(): Promise<void> } {
  let stopped = false;
  const loop = async (seed: number): Promise<void> => {
    const random = new Random(seed);
    const statements = [
      "SET time_zone = '+09:00'",
      "SET sql_mode = ''",
      "UPDATE a0 SET v = 'other' WHERE id = 90",
      "INSERT INTO a0 (v) VALUES ('noise')",
      "SELECT CAST('noise' AS SIGNED)",
      'SELECT id FROM a0 ORDER BY id LIMIT 3',
      'SELECT id FROM a0 WHERE id = 1 FOR UPDATE',
      'SELECT nothing FROM nowhere',
      'SET @v = 9',
      'SET SESSION sort_buffer_size = 390000',
      'SELECT v FROM a0 WHERE id = 2',
      'SELECT 1',
    ];
    while (!stopped) {
      const side: Side = { database: DATABASES.proxied, user: stand.user, ids: new Map() };
      const flags = FLAG.DEPRECATE_EOF | FLAG.MULTI_STATEMENTS | FLAG.LOCAL_FILES;
      const talker = await Talker.open(stand.proxied, stand.user, DATABASES.proxied, flags);
      for (let i = 0; i < 8 && !stopped; i++) {
        await said(talker, side, { kind: 'query', sql: random.pick(statements) });
        if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      talker.close();
    }
  };
  const loops = [loop(1), loop(2)].map((each) => each.catch(() => {}));
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(loops);
    },
  };
}

/** What is left when everything without which it still differs has been taken away. */
export async function shorten(stand: Stand, difference: Difference): Promise<Difference> {
  let shortest = difference;
  const end = performance.now() + MAX_SHORTEN_MS;
  const { first } = difference.story;
  const counts: Counts = { stories: 0, steps: 0, whole: 0, gone: 0 };
  const stillDiffers = async (steps: readonly Step[]): Promise<boolean> => {
    for (let i = 0; i < 3 && performance.now() < end; i++) {
      const found = await compare(stand, { ...difference.story, steps }, counts, first);
      if (typeof found !== 'object') continue;
      shortest = found;
      return true;
    }
    return false;
  };
  if (!(await stillDiffers(shortest.story.steps)))
    return { ...difference, text: `(once) ${difference.text}` };
  for (
    let size = Math.ceil((shortest.story.steps.length - first) / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  )
    for (
      let at = shortest.story.steps.length - 1 - size;
      at >= first;
      at = Math.min(at - size, shortest.story.steps.length - 1 - size)
    )
      await stillDiffers(shortest.story.steps.filter((_, i) => i < at || i >= at + size));
  return shortest;
}
