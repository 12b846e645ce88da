// Stories at random for a few seconds, with a fixed seed: run by stories-mysql.test.ts and stories-mariadb.test.ts. Others, and
// longer: SCHEELITE_SEED, SCHEELITE_STORIES, or main.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownStories } from './known.js';
import * as material from './material.js';
import { makeNoise, play, playKnown, SLOTS, shorten } from './play.js';
import { openScene } from './scene.js';
import { plainQuery } from './steps.js';

const SEED = Number(process.env.SCHEELITE_SEED ?? 41);
const ASKED = process.env.SCHEELITE_STORIES;
const STORIES = Number(ASKED ?? 40);
const SECONDS = 8;

export function storyTests(flavor: material.Flavor): void {
  test(`${flavor}: stories at random, through the proxy and on the server itself`, async (t) => {
    const scene = await openScene(flavor);
    t.after(() => scene.stop());
    const noise = makeNoise(scene);
    t.after(() => noise.stop());
    const n = 1;
    const beginning = material.beginning(n).map(plainQuery);
    const known = await playKnown(scene, n, beginning, knownStories(flavor, n));
    assert.deepEqual(
      known.differences.map(({ text }) => text),
      [],
    );
    assert.equal(known.whole, known.stories);
    const played = await play(scene, {
      seed: SEED,
      stories: STORIES,
      seconds: ASKED === undefined ? SECONDS : Number.POSITIVE_INFINITY,
      length: 25,
      maxDifferences: 1,
    });
    const { stories, whole, steps, gone, differences } = played;
    t.diagnostic(
      `seed ${SEED}: ${stories} stories, ${whole} to their end, ${steps} steps, ${gone} answers gone`,
    );
    const [first] = differences;
    if (first !== undefined) assert.fail(`seed ${SEED}\n${(await shorten(scene, first)).text}`);
    // Each slot plays one, however busy the machine is.
    assert.ok(stories >= Math.min(STORIES, SLOTS), `${stories} stories`);
    // The shares are those of all that the seed tells.
    if (stories < STORIES) return;
    assert.ok(whole > stories * 0.8, `${whole} stories of ${stories} were compared to their end`);
    assert.ok(gone < steps * 0.02, `${gone} answers of ${steps} were said to be gone`);
  });
}
