// The tour's third step: a session sees its own writes although a replica is delayed, and only that session must avoid it.

import { READS_RUN } from '../application.js';
import { expect, until } from '../expect.js';
import type { Stage, Step } from '../step.js';

const WRITES = 20;

export const ownWrites: Step = {
  name: 'own-writes',
  title: 'A session reads its own writes while a replica is delayed',

  async run(stage: Stage) {
    const { cluster, proxy, session, narrator, signal, application } = stage;
    const delayed = cluster.node('node3');
    const staleBefore = application.staleReads;
    const old = application.lastEntry;
    await delayed.ask('SELECT pg_wal_replay_pause()');
    await until(`${delayed.name} pauses its replay`, signal, async () => {
      const state = await delayed.askValue('SELECT pg_get_wal_replay_pause_state()');
      return state === 'paused' ? true : String(state);
    });
    narrator.says(`${delayed.name} replays nothing for a while (pg_wal_replay_pause())`);

    const ranBefore = Number(await delayed.askValue(READS_RUN));
    const reads = await writeAndRead(stage);
    const ran = Number(await delayed.askValue(READS_RUN)) - ranBefore;
    const has = await delayed.askValue('SELECT max(entry) FROM ledger');
    expect(has === old, `entry ${old} is still the newest on ${delayed.name}`, has);
    const answered = reads.get(delayed.name) ?? 0;
    expect(answered === 0, `no read of the session answered by ${delayed.name}`, answered);
    const stale = application.staleReads - staleBefore;
    expect(stale === 0, 'every read sees the write before it', `${stale} reads that did not`);
    narrator.fact(`${WRITES} times a write and reads of it: every read saw the write`);
    const { primary } = proxy.status();
    const shares = cluster.nodes.map(({ name }) => {
      const note = name === primary ? ' (primary)' : name === delayed.name ? ' (delayed)' : '';
      return `${name}${note} ${reads.get(name) ?? 0}`;
    });
    narrator.fact(`who answered: ${shares.join(', ')}`);
    // A gate: the read is sent behind the question, and what the replica answers to it is dropped when it is behind.
    narrator.fact(`${delayed.name} was asked ${ran} times, with a read behind it: it had not caught up`);
    narrator.fact(`meanwhile the newest on ${delayed.name} itself: ${has} of ${application.lastEntry}`);

    await othersMayReadThere(stage, delayed.name, old);
    await delayed.ask('SELECT pg_wal_replay_resume()');
    await until(`${delayed.name} answers the session again`, signal, async () => {
      const { node } = await session.read();
      return node === delayed.name ? true : `${node} answers`;
    });
    const now = await delayed.askValue('SELECT max(entry) FROM ledger');
    expect(now === application.lastEntry, `${delayed.name} has entry ${application.lastEntry}`, now);
    narrator.fact(`its replay resumed, ${delayed.name} has entry ${now} and answers the session again`);
    return { readsWhileDelayed: [...reads.values()].reduce((sum, count) => sum + count, 0) };
  },
};

/** A read at once after each write, and more of them until a replica is known to have it. */
async function writeAndRead({ session, proxy, signal }: Stage): Promise<ReadonlyMap<string, number>> {
  const reads = new Map<string, number>();
  const read = async () => {
    const { node } = await session.read();
    reads.set(node, (reads.get(node) ?? 0) + 1);
    return node;
  };
  for (let i = 0; i < WRITES; i++) {
    await session.write();
    await read();
    // Now and then: that the delayed replica is avoided does not mean that all go to the primary.
    if (i % 5 !== 4) continue;
    await until('a replica answers the session', signal, async () => {
      const node = await read();
      return node === proxy.status().primary ? `${node} answers` : true;
    });
  }
  return reads;
}

/** What one session must avoid is still good enough for one that has neither written nor seen anything. */
async function othersMayReadThere({ application, narrator, signal }: Stage, delayed: string, old: number) {
  await until(`another session reads from ${delayed}`, signal, async () => {
    const other = await application.connect();
    try {
      const { node, newest } = await other.read();
      if (node !== delayed) return `${node} answers`;
      expect(newest === old, `a new session on ${delayed} sees entry ${old}`, newest);
      return true;
    } finally {
      await other.close();
    }
  });
  narrator.fact(`a new session, which has not written, may read there and sees ${old}`);
}
