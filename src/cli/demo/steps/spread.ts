// The tour's second step: reads of several connections are spread over the replicas, counted in three ways.

import { monotonicMs } from '../../../lib/clock.js';
import { READS_RUN } from '../application.js';
import { DEADLINE_MS, expect, until } from '../expect.js';
import type { Stage, Step } from '../step.js';

const CONNECTIONS = 8;
const READS_EACH = 25;
/**
 * Of the reads, for each replica: round-robin gives each about a half. A session that has read on one replica stays there
 * until the other is known to have as much, so that few reads in a short time may all go to one.
 */
const LEAST_SHARE = 0.2;

export const spread: Step = {
  name: 'spread',
  title: 'Reads are spread over the replicas',

  async run(stage: Stage) {
    const { cluster, proxy, application, narrator } = stage;
    await untilTableIsKnown(stage);
    const connections = await application.connectMany(CONNECTIONS);
    const before = await countAll(stage);
    const answered = new Map<string, number>();
    const replicas = cluster.nodes.filter(({ name }) => name !== proxy.status().primary);
    let total = 0;
    const deadline = monotonicMs() + DEADLINE_MS;
    /** Null: each replica has its share. Not `until`: a read that fails is no "not yet". */
    const readRound = async (): Promise<string | null> => {
      await Promise.all(
        connections.map(async (connection) => {
          for (let i = 0; i < READS_EACH; i++) {
            const { node } = await connection.read();
            answered.set(node, (answered.get(node) ?? 0) + 1);
          }
        }),
      );
      total += CONNECTIONS * READS_EACH;
      const short = replicas.find(({ name }) => (answered.get(name) ?? 0) < total * LEAST_SHARE);
      return short === undefined ? null : `${short.name} has ${answered.get(short.name) ?? 0} of ${total}`;
    };
    for (let short = await readRound(); short !== null; short = await readRound())
      expect(monotonicMs() < deadline, 'each replica to have a good share of the reads', short);
    const after = await countAll(stage);
    await Promise.all(connections.map((connection) => connection.close()));

    const { primary } = proxy.status();
    const counts = cluster.nodes.map(({ name }) => ({
      name,
      byAnswers: answered.get(name) ?? 0,
      byServer: after.get(name)!.byServer - before.get(name)!.byServer,
      byProxy: after.get(name)!.byProxy - before.get(name)!.byProxy,
    }));
    narrator.says(`${total} reads on ${CONNECTIONS} connections, counted in three ways:`);
    narrator.rows([
      ['', 'by the answers', 'by the server itself', 'by the proxy'],
      ...counts.map(({ name, byAnswers, byServer, byProxy }) => [name, byAnswers, byServer, byProxy]),
    ]);
    for (const { name, byAnswers, byServer, byProxy } of counts) {
      if (name === primary) expect(byAnswers === 0, `no read on the primary, ${name}`, byAnswers);
      // A read that waited behind a slow one is run again elsewhere; somebody else may be using the proxy already.
      expect(byServer >= byAnswers, `${name} counts ${byAnswers} reads itself, or more`, byServer);
      expect(byProxy >= byServer, `the proxy counts ${byServer} reads on ${name}, or more`, byProxy);
    }
    narrator.fact('the primary had none of them, each replica its share');
    return {};
  },
};

/** Until the proxy has read the catalog again, it knows no table of that name, and a replica must be earned. */
async function untilTableIsKnown({ application, signal, proxy }: Stage): Promise<void> {
  const connection = await application.connect();
  await until('a replica answers a read of the new table', signal, async () => {
    const { node } = await connection.read();
    return node === proxy.status().primary ? `${node} answers` : true;
  });
  await connection.close();
}

async function countAll({ cluster, proxy }: Stage) {
  const counts = new Map<string, { readonly byServer: number; readonly byProxy: number }>();
  for (const node of cluster.nodes) {
    const byServer = Number(await node.askValue(READS_RUN));
    counts.set(node.name, { byServer, byProxy: proxy.readsSentTo(node.name) });
  }
  return counts;
}
