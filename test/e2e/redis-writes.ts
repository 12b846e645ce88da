// What is written through one of two proxies and read through the other at once, under keys, while Redis is disturbed: every read
// finds the write before it. It knows no server and says how long a client was kept waiting at most.

import assert from 'node:assert/strict';
import type { Client } from './driver.js';

export type Clients = readonly [Client, Client];

let id = 10_000;
export function nextId(): number {
  return ++id;
}

export async function note(client: Client, session: string, id: number): Promise<unknown> {
  const rows = await client.query(`/* scheelite: session=${session} */ SELECT note FROM notes WHERE id = ?`, [
    id,
  ]);
  return rows[0]?.note;
}

/** Writes through one, reads through the other at once, and the other way round. */
export async function writes(clients: Clients, count: number, go = () => true): Promise<Work> {
  const work: Work = { done: 0, longestMs: 0 };
  const timed = async <T>(promise: Promise<T>): Promise<T> => {
    const from = performance.now();
    const value = await promise;
    work.longestMs = Math.max(work.longestMs, performance.now() - from);
    return value;
  };
  for (; work.done < count && go(); work.done++) {
    const [writer, reader] = work.done % 2 === 0 ? clients : [clients[1], clients[0]];
    const id = nextId();
    const session = `s${work.done % 3}`;
    await timed(
      writer.query(`/* scheelite: session=${session} */ INSERT INTO notes VALUES (?, 'new')`, [id]),
    );
    assert.equal(await timed(note(reader, session, id)), 'new', `write ${work.done} is missing`);
  }
  return work;
}

export interface Work {
  done: number;
  /** From a statement to its reply. */
  longestMs: number;
}

/** Until it is stopped; the answer rejects where something was stale, or an error. */
export function background(clients: Clients): () => Promise<Work> {
  let going = true;
  const work = writes(clients, Number.POSITIVE_INFINITY, () => going);
  work.catch(() => {});
  return async () => {
    going = false;
    const done = await work;
    assert.ok(done.done > 0);
    return done;
  };
}
