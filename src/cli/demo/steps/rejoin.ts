// The tour's last step: the old primary comes back with new data, as a replica of its successor.

import { expect, until } from '../expect.js';
import type { Stage, Step } from '../step.js';

export const rejoin: Step = {
  name: 'rejoin',
  title: 'The old primary comes back as a replica',

  async run({ cluster, proxy, application, narrator, signal }: Stage) {
    const primary = cluster.node(proxy.status().primary ?? 'node2');
    const old = cluster.nodes.find((node) => node.pid === undefined);
    expect(old !== undefined, 'one node that does not run', 'none');
    await cluster.rebuild(old!, primary, signal);
    narrator.says(`${old!.name} gets a copy of ${primary.name}'s data and is started as its replica`);
    await until(`${old!.name} answers reads`, signal, async () => {
      const connection = await application.connect();
      const { node } = await connection.read();
      await connection.close();
      const { state, excludedBecause } = proxy.nodeStatus(old!.name);
      return node === old!.name ? true : `it is ${excludedBecause ?? state}`;
    });
    const inRecovery = await old!.askValue('SELECT pg_is_in_recovery()');
    expect(inRecovery === true, `pg_is_in_recovery() is true on ${old!.name}`, inRecovery);
    await until('the proxy has nothing to complain of', signal, () => {
      const { alerts, state } = proxy.status();
      return alerts.length === 0 && state === 'ok' ? true : [state, ...alerts].join('; ');
    });
    narrator.fact(`it streams from ${primary.name} and takes reads; nothing is written to it`);
    return {};
  },
};
