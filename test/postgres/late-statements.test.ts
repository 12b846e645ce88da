// Statements that a client sends one by one, while earlier ones of its own run: they run, and are answered, in their order.
// (pgjdbc with preferQueryMode=simple writes batches so.)

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
const COUNT = 30;

test('postgres: statements that come while others run', { skip }, async (t) => {
  const cluster = await sharingCluster(t);
  const scene = await SharingScene.open(t, cluster);
  await scene.admin('CREATE TABLE arrived (place serial, number int)');
  await scene.admin('GRANT ALL ON arrived, arrived_place_seq TO PUBLIC');
  const insert = (i: number): string => `INSERT INTO arrived (number) SELECT ${i} FROM pg_sleep(0.02)`;
  const forms: Record<string, (i: number) => Buffer> = {
    'simple queries': (i) => say.query(insert(i)),
    batches: (i) => say.run(insert(i), []),
  };
  for (const [name, form] of Object.entries(forms)) {
    await t.test(name, async () => {
      await scene.admin('TRUNCATE arrived');
      const wire = await scene.client();
      // One has just ended when the next but one comes: some wait, and the one in front of them has been read.
      for (let i = 0; i < COUNT; i++) {
        wire.send(form(i));
        await sleep(i % 3 === 0 ? 15 : 5);
      }
      for (let i = 0; i < COUNT; i++) await wire.through('ReadyForQuery');
      const rows = await scene.admin('SELECT number FROM arrived ORDER BY place');
      assert.deepEqual(
        rows.map(({ number }) => Number(number)),
        Array.from({ length: COUNT }, (_, i) => i),
      );
    });
  }
});
