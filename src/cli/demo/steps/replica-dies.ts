// The tour's fourth step: a replica is killed under its readers, leaves the reads, and comes back by itself.

import { monotonicMs } from '../../../lib/clock.js';
import { expect, until } from '../expect.js';
import { Readers } from '../readers.js';
import type { Stage, Step } from '../step.js';

const READERS = 4;
/** So many reads show that they go on. */
const ENOUGH = 40;

export const replicaDies: Step = {
  name: 'replica-dies',
  title: 'A replica is killed and comes back',

  async run({ cluster, proxy, application, narrator, signal }: Stage) {
    const victim = cluster.node('node3');
    const primary = cluster.node(proxy.status().primary ?? 'node1');
    const readers = await Readers.start(application, READERS);
    try {
      await until(`${victim.name} answers readers`, signal, () =>
        readers.answered(victim.name) > 0 ? true : `${readers.answered()} reads, none of them there`,
      );
      const before = readers.answered();
      await victim.kill();
      narrator.says(`${READERS} clients read all the time; ${victim.name} is killed (SIGKILL)`);
      await until(`the proxy sees that ${victim.name} is down`, signal, () => {
        const { state } = proxy.nodeStatus(victim.name);
        return state === 'down' ? true : `it is ${state}`;
      });
      await until('reads go on', signal, () => {
        readers.expectNoErrors();
        const more = readers.answered() - before;
        return more >= ENOUGH ? true : `${more} reads`;
      });
      const refused = await victim.askValue('SELECT 1').then(
        () => 'an answer',
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(refused === 'ECONNREFUSED', `${victim.name} refuses connections`, refused);
      narrator.fact(
        `${victim.name} is gone, ${readers.answered() - before} reads answered since, none failed`,
      );

      const startedMs = monotonicMs();
      const answeredBefore = readers.answered(victim.name);
      await victim.start();
      const servesMs = monotonicMs();
      await cluster.streams(victim, primary, signal);
      await until(`${victim.name} answers readers again`, signal, () => {
        readers.expectNoErrors();
        const { state, excludedBecause } = proxy.nodeStatus(victim.name);
        return readers.answered(victim.name) > answeredBefore ? true : `it is ${excludedBecause ?? state}`;
      });
      const backMs = Math.round(monotonicMs() - servesMs);
      narrator.says(`${victim.name} is started again (${Math.round(servesMs - startedMs)} ms)`);
      narrator.fact(`it streams from ${primary.name}, and had reads again after ${backMs} ms`);
      return { replicaBackMs: backMs };
    } finally {
      await readers.stop();
    }
  },
};
