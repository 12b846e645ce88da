// node dist/test/mysql/stories/main.js --server mysql|mariadb --seconds N --seed N --stories N --differences N
// Plays stories for long; each difference is made short and printed. Exit status 1: there was one.

import { parseArgs } from 'node:util';
import { makeNoise, play, shorten } from './play.js';
import { openScene } from './scene.js';

const { values } = parseArgs({
  options: {
    server: { type: 'string', default: 'mysql' },
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    stories: { type: 'string', default: '1000000' },
    length: { type: 'string', default: '25' },
    differences: { type: 'string', default: '4' },
  },
});
const seed = Number(values.seed);
process.stdout.write(`seed ${seed}\n`);
const scene = await openScene(values.server === 'mariadb' ? 'mariadb' : 'mysql');
try {
  const noise = makeNoise(scene);
  const played = await play(scene, {
    seed,
    stories: Number(values.stories),
    seconds: Number(values.seconds),
    length: Number(values.length),
    maxDifferences: Number(values.differences),
  });
  for (const difference of played.differences) {
    process.exitCode = 1;
    const { text } = await shorten(scene, difference);
    process.stdout.write(`--- it differs: ${text}\n`);
  }
  await noise.stop();
  const { stories, whole, steps, gone, differences } = played;
  process.stdout.write(
    `seed ${seed}: ${stories} stories, ${whole} to their end, ${steps} steps, ${gone} answers gone, ${differences.length} differences\n`,
  );
} catch (error) {
  process.exitCode = 1;
  process.stdout.write(
    `${error instanceof Error ? error.stack : String(error)}\n${scene.cluster.primary.logTail(3)}\n`,
  );
} finally {
  await scene.stop();
}
