// The tour's fifth step: the primary is killed, a replica takes its place, and the clients stay connected.

import { monotonicMs } from '../../../lib/clock.js';
import type { DemoNode } from '../cluster.js';
import { expect, until } from '../expect.js';
import { Readers } from '../readers.js';
import type { Stage, Step } from '../step.js';

const READERS = 4;
const WRITES_AFTER = 20;
/** The timeline is the first third of a WAL file's name (manual, "WAL Internals"). */
const TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int";
const LEDGER =
  'SELECT count(*)::int AS entries, count(DISTINCT entry)::int AS different, max(entry) AS newest FROM ledger';

export const primaryDies: Step = {
  name: 'primary-dies',
  title: 'The primary is killed and replaced, its clients stay connected',

  async run(stage: Stage) {
    const { cluster, proxy, application, session, narrator, signal } = stage;
    const old = cluster.node(proxy.status().primary ?? 'node1');
    const oldTimeline = Number(await old.askValue(TIMELINE));
    const port = session.localPort;
    const { epoch } = proxy.status();
    const readers = await Readers.start(application, READERS);
    try {
      await until('readers read', signal, () => readers.answered() > 0 || 'none has');
      await session.write();
      await everywhere(stage);
      const readsBefore = readers.answered();
      const killedMs = monotonicMs();
      await old.kill();
      await until(`the proxy sees that ${old.name} is gone`, signal, () => {
        const { primary, state } = proxy.status();
        return primary === old.name ? state : true;
      });
      narrator.says(`${old.name} is killed (SIGKILL); its client sends the next write`);
      const { node } = await session.write();
      const failoverMs = Math.round(monotonicMs() - killedMs);
      expect(node !== old.name, 'another node runs the write', node);
      const promoted = cluster.node(node);
      const other = cluster.nodes.find((each) => each !== old && each !== promoted)!;
      narrator.fact(`the write waited, then ${node} ran it, ${failoverMs} ms after the kill`);

      const [is] = await promoted.ask(`SELECT pg_is_in_recovery() AS replica, (${TIMELINE}) AS timeline`);
      expect(is?.replica === false, `pg_is_in_recovery() is false on ${node}`, is);
      expect(Number(is?.timeline) > oldTimeline, `a timeline above ${oldTimeline} on ${node}`, is);
      expect(proxy.status().epoch === epoch + 1, `epoch ${epoch + 1} at the proxy`, proxy.status().epoch);
      narrator.fact(`${node} says of itself that it is no replica, on timeline ${is?.timeline}`);

      for (let i = 0; i < WRITES_AFTER; i++) await session.write();
      await cluster.streams(other, promoted, signal);
      await everywhere(stage, old);
      await expectLedger(promoted, application.acknowledged.length);
      await expectLedger(other, application.acknowledged.length);
      narrator.fact(`${other.name} follows it; all ${application.acknowledged.length} writes are on both`);

      await until('reads go on', signal, () => readers.answered() > readsBefore || 'none was answered');
      readers.expectNoErrors();
      const lost = application.connectionsLost;
      expect(lost === 0, 'every client keeps its connection', `${lost} lost`);
      expect(session.localPort === port, `the client's connection is from port ${port}`, session.localPort);
      narrator.fact(`${readers.answered() - readsBefore} reads of ${READERS} clients meanwhile, none failed`);
      narrator.fact('every client still has the connection that it had before');
      return { failoverMs, newPrimary: node };
    } finally {
      await readers.stop();
    }
  },
};

/** Replication is asynchronous: the tour does not kill a primary that has something which nobody else has. */
async function everywhere({ cluster, application, signal }: Stage, except?: DemoNode): Promise<void> {
  for (const node of cluster.nodes) {
    if (node === except) continue;
    await until(`entry ${application.lastEntry} is on ${node.name}`, signal, async () => {
      const newest = await node.askValue('SELECT max(entry) FROM ledger');
      return newest === application.lastEntry ? true : `${newest} is the newest`;
    });
  }
}

async function expectLedger(node: DemoNode, entries: number): Promise<void> {
  const [row] = await node.ask(LEDGER);
  const complete = row?.entries === entries && row.different === entries && row.newest === entries;
  expect(complete, `entries 1 to ${entries}, each once, on ${node.name}`, row);
}
