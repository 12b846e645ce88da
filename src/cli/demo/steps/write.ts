// The tour's first step: a write goes to the primary and from there to the replicas.

import { monotonicMs } from '../../../lib/clock.js';
import { expect, until } from '../expect.js';
import type { Stage, Step } from '../step.js';

export const write: Step = {
  name: 'write',
  title: 'A write goes to the primary',

  async run({ cluster, session, narrator, signal }: Stage) {
    const [primary, ...replicas] = cluster.nodes;
    await session.createLedger();
    const { node, entry } = await session.write();
    const writtenMs = monotonicMs();
    narrator.says('CREATE TABLE ledger ..., then INSERT INTO ledger ... RETURNING');
    expect(node === primary!.name, `${primary!.name} runs the INSERT`, node);
    const inRecovery = await cluster.node(node).askValue('SELECT pg_is_in_recovery()');
    expect(inRecovery === false, `pg_is_in_recovery() is false on ${node}`, inRecovery);
    narrator.fact(`${node} ran it, and says of itself that it is no replica`);

    for (const replica of replicas) {
      await until(`entry ${entry} is on ${replica.name}`, signal, async () => {
        const [row] = await replica.ask(
          'SELECT pg_is_in_recovery() AS replica, (SELECT written_on FROM ledger WHERE entry = $1) AS written_on',
          [entry],
        );
        expect(row?.replica === true, `pg_is_in_recovery() is true on ${replica.name}`, row);
        return row?.written_on === node ? true : 'it is not there';
      });
    }
    const replicatedMs = Math.round(monotonicMs() - writtenMs);
    narrator.fact(`${replicas.map(({ name }) => name).join(' and ')} are replicas and have it as well`);
    return { replicatedMs };
  },
};
