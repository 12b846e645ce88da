// A rule that denies holds for what comes behind a Flush, too, where part of the batch has run.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { say } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { held, own, row, SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
const runs = (sql: string): Buffer => Buffer.concat([say.parse('', sql), say.bind('', []), say.execute()]);

test('postgres: what a rule denies does not run behind a Flush', { skip }, async (t) => {
  const cluster = await sharingCluster(t);
  const rules = [{ match: { shapePattern: 'locked' }, action: { deny: 'the table is closed' } }];
  const scene = await SharingScene.open(t, cluster, { rules });

  for (const end of [say.flush(), say.sync()]) {
    const wire = await scene.client();
    wire.send(runs('UPDATE written SET v = v + 1 WHERE id = 1'), say.flush());
    const lines = [await wire.line(), await wire.line(), await wire.line()];
    assert.deepEqual(lines, ['ParseComplete', 'BindComplete', 'CommandComplete UPDATE 1']);
    wire.send(runs(held(1)), end);
    assert.match(await wire.line(), /^ErrorResponse FATAL 42501 .*the table is closed/);
    assert.deepEqual(await wire.closed(), []);
  }
  assert.deepEqual(
    (await scene.admin('SELECT v FROM written WHERE id = 1')).map(({ v }) => v),
    [0],
    'without a Sync nothing is committed',
  );

  const wire = await scene.client();
  wire.send(runs(own(1)), say.flush());
  for (let i = 0; i < 4; i++) await wire.line();
  assert.deepEqual(await wire.talk(runs(own(2)), say.sync()), [
    'ParseComplete',
    'BindComplete',
    ...row('v2').slice(1),
  ]);
});
