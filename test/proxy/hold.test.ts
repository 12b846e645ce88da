// The queue of held units: who is told what, when, and that nobody is forgotten; with a clock that only the test moves.

import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import { type Held, HoldQueue } from '../../src/proxy/hold.js';

interface Told extends Held {
  readonly name: string;
  /** What it does when it is resumed, or expires; nothing by default. */
  onResume: () => void;
  onExpired: () => void;
}

class Scene {
  readonly failures: unknown[] = [];
  readonly queue = new HoldQueue((held, cause) => this.failures.push([(held as Told).name, cause]));
  /** What the queue has told, in order. */
  told: string[] = [];
  nowMs = 1_000;

  constructor(t: TestContext) {
    const now = mock.method(performance, 'now', () => this.nowMs);
    mock.timers.enable({ apis: ['setInterval'] });
    t.after(() => {
      mock.timers.reset();
      now.mock.restore();
    });
  }

  /** A unit that waits until `forMs` from now. */
  held(name: string, forMs = 10_000): Told {
    const held: Told = {
      name,
      onResume: () => {},
      onExpired: () => {},
      resume: () => {
        this.told.push(`resume ${name}`);
        held.onResume();
      },
      expired: () => {
        this.told.push(`expired ${name}`);
        held.onExpired();
      },
      terminate: () => assert.fail("it is for the queue's owner to end it"),
    };
    this.add(held, forMs);
    return held;
  }

  add(held: Held, forMs: number): void {
    this.queue.add(held, this.nowMs + forMs);
  }

  /** In steps as small as the queue's own, as a real clock would go. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 10) {
      this.nowMs += Math.min(10, left);
      mock.timers.tick(Math.min(10, left));
    }
  }
}

test('all are resumed in the order in which they came', (t) => {
  const scene = new Scene(t);
  for (const name of ['a', 'b', 'c']) scene.held(name);
  assert.equal(scene.queue.size, 3);
  scene.queue.resumeAll();
  assert.deepEqual(scene.told, ['resume a', 'resume b', 'resume c']);
  assert.equal(scene.queue.size, 0);
  scene.queue.resumeAll();
  assert.equal(scene.told.length, 3, 'once');
  scene.pass(20_000);
  assert.equal(scene.told.length, 3, 'who has been resumed does not expire');
});

test('one that waits again is not resumed again in the same turn', (t) => {
  const scene = new Scene(t);
  const again = scene.held('again');
  again.onResume = () => scene.add(again, 10_000);
  scene.held('other');
  scene.queue.resumeAll();
  assert.deepEqual(scene.told, ['resume again', 'resume other']);
  assert.equal(scene.queue.size, 1);
  scene.queue.resumeAll();
  assert.equal(scene.told.at(-1), 'resume again');
});

test('each is given up at its own deadline, not before, and soon after', (t) => {
  const scene = new Scene(t);
  scene.held('late', 500);
  scene.held('early', 100);
  scene.pass(90);
  assert.deepEqual(scene.told, []);
  scene.pass(60);
  assert.deepEqual(scene.told, ['expired early']);
  scene.pass(300);
  assert.deepEqual(scene.told, ['expired early']);
  scene.pass(100);
  assert.deepEqual(scene.told, ['expired early', 'expired late']);
  assert.equal(scene.queue.size, 0);
});

test('a deadline is kept over resumes', (t) => {
  const scene = new Scene(t);
  const held = scene.held('a', 300);
  const deadlineMs = scene.nowMs + 300;
  held.onResume = () => scene.queue.add(held, deadlineMs);
  for (let i = 0; i < 5; i++) {
    scene.pass(50);
    scene.queue.resumeAll();
  }
  assert.equal(scene.told.filter((each) => each === 'expired a').length, 0);
  scene.pass(100);
  assert.equal(scene.told.at(-1), 'expired a');
});

test('whoever has left is told nothing', (t) => {
  const scene = new Scene(t);
  const gone = scene.held('gone', 100);
  scene.held('stays', 100);
  scene.queue.remove(gone);
  scene.queue.remove(gone);
  assert.equal(scene.queue.size, 1);
  scene.pass(200);
  assert.deepEqual(scene.told, ['expired stays']);
});

test('nor whoever leaves while others are told', (t) => {
  const scene = new Scene(t);
  const first = scene.held('first');
  const second = scene.held('second');
  first.onResume = () => scene.queue.remove(second);
  scene.queue.resumeAll();
  assert.deepEqual(scene.told, ['resume first']);

  scene.told = [];
  const third = scene.held('third', 100);
  const fourth = scene.held('fourth', 100);
  third.onExpired = () => scene.queue.remove(fourth);
  scene.pass(200);
  assert.deepEqual(scene.told, ['expired third']);
});

test('one that fails takes nobody else along', (t) => {
  const scene = new Scene(t);
  const failing = scene.held('failing', 100);
  failing.onResume = () => {
    throw new Error('cannot be resumed');
  };
  scene.held('other', 100);
  scene.queue.resumeAll();
  assert.deepEqual(scene.told, ['resume failing', 'resume other']);
  assert.match(String(scene.failures), /^failing,Error: cannot be resumed$/);
});

test('nothing ticks while nobody waits', (t) => {
  const started = mock.method(globalThis, 'setInterval');
  const stopped = mock.method(globalThis, 'clearInterval');
  t.after(() => {
    started.mock.restore();
    stopped.mock.restore();
  });
  const queue = new HoldQueue(() => {});
  const held: Held = { resume: () => {}, expired: () => {}, terminate: () => {} };
  queue.add(held, Number.POSITIVE_INFINITY);
  queue.add(held, Number.POSITIVE_INFINITY);
  assert.equal(started.mock.callCount(), 1);
  queue.remove(held);
  assert.equal(stopped.mock.callCount(), 1);
  queue.add(held, Number.POSITIVE_INFINITY);
  queue.resumeAll();
  assert.equal(started.mock.callCount(), 2);
  assert.equal(stopped.mock.callCount(), 2);
});
