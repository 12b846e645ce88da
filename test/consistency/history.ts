// What a history is: operations of sessions with their times and values, as objects and as JSON lines that a person can read.
// It knows no database and judges nothing.

import { createReadStream, createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * One thing that an operation did, in order. A register has a depth (how often it has been written: the row counts) and the
 * value of its last write; null at depth 0. A list shows all values that were appended, oldest first, with commas between.
 * A write may know the depth that it has made. No value is written twice, on whatever key.
 */
export type Step = RegisterRead | ListRead | Write;
export type RegisterRead = readonly ['r', key: string, depth: number, value: string | null];
export type ListRead = readonly ['l', key: string, values: string];
export type Write = readonly ['w', key: string, value: string, depth?: number];

/** `bounded` promises nothing that is checked here, like `eventual`. */
export type Level = 'eventual' | 'session' | 'strong';

/** One statement or one transaction. Everything that it read came from one node. */
export interface Operation {
  /** The session, in the sense of the consistency scope: a connection's, or a key's. */
  readonly s: string;
  /** Before its first byte was sent, after its last byte had come; in milliseconds by one clock for all sessions. */
  readonly at: readonly [start: number, end: number];
  readonly do: readonly Step[];
  /** Left out: it succeeded. `failed`: its writes have not happened and never will; `unknown`: they may have, or may yet. */
  readonly o?: 'failed' | 'unknown';
  /** The node that it read from, for people. */
  readonly on?: string;
  /** Left out: the history's. */
  readonly level?: Level;
}

/**
 * The database changed its primary between these times: before `from` there was the old one only, from `to` on only the new
 * one. What had been acknowledged may be lost with it, but then for everybody and for good.
 */
export interface Failover {
  readonly failover: readonly [from: number, to: number];
}

export interface Head {
  readonly history: 1;
  readonly level: Level;
  /** What was run, for people. */
  readonly about?: Readonly<Record<string, unknown>>;
}

export type Entry = Operation | Failover;

export interface History {
  readonly head: Head;
  readonly entries: readonly Entry[];
}

export function isFailover(entry: Entry): entry is Failover {
  return 'failover' in entry;
}

export async function writeHistory(file: string, { head, entries }: History): Promise<void> {
  const out = createWriteStream(file);
  const failed = new Promise<never>((_, reject) => out.once('error', reject));
  const drained = () => Promise.race([new Promise<void>((resolve) => out.once('drain', resolve)), failed]);
  out.write(`${JSON.stringify(head)}\n`);
  for (let at = 0; at < entries.length; at += 1000) {
    const lines = entries.slice(at, at + 1000).map((entry) => JSON.stringify(entry));
    if (!out.write(`${lines.join('\n')}\n`)) await drained();
  }
  await Promise.race([new Promise<void>((resolve) => out.end(resolve)), failed]);
}

/** Throws on a line that is not of a history. */
export async function readHistory(file: string): Promise<History> {
  const entries: Entry[] = [];
  let head: Head | null = null;
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    number++;
    if (line.trim() === '') continue;
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch {
      throw new Error(`${file}:${number}: not JSON`);
    }
    if (head === null) {
      if ((parsed as Partial<Head>).history !== 1) throw new Error(`${file}: not a history`);
      head = parsed as Head;
    } else entries.push(entryOf(parsed, `${file}:${number}`));
  }
  if (head === null) throw new Error(`${file}: empty`);
  return { head, entries };
}

function entryOf(parsed: unknown, where: string): Entry {
  const entry = parsed as Partial<Operation & Failover>;
  const times = entry.failover ?? entry.at;
  if (times?.length !== 2 || !(times[0] <= times[1])) throw new Error(`${where}: no times`);
  if (entry.failover === undefined && (typeof entry.s !== 'string' || !Array.isArray(entry.do)))
    throw new Error(`${where}: neither an operation nor a failover`);
  return parsed as Entry;
}
