// One limit over several workers, in a simulation: messages that arrive late, workers that come, go, want more and less.
// After every single step the sum of what is held must be within the limit.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fairParts, Share } from '../../src/proxy/workers/share.js';

/** A worker as Share sees it, with its own idea of what it may use. */
interface Model {
  index: number;
  generation: number;
  allowed: number;
  seq: number;
  held: number;
  demand: number;
}

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

class World {
  readonly share: Share;
  readonly models: (Model | null)[];
  readonly #random: (below: number) => number;
  readonly #givesBack: boolean;
  /** One channel for each worker and direction, each in order. */
  readonly #channels: { toWorker: (() => void)[]; fromWorker: (() => void)[] }[];
  limit: number;
  #generation = 0;

  constructor(seed: number, workers: number, limit: number, givesBack: boolean) {
    this.#random = random(seed);
    this.#givesBack = givesBack;
    this.limit = limit;
    this.models = Array.from({ length: workers }, () => null);
    this.#channels = Array.from({ length: workers }, () => ({ toWorker: [], fromWorker: [] }));
    this.share = new Share({
      limit,
      workers,
      givesBack,
      tell: (index, allowed, seq) => this.#to(index, (model) => this.#told(model, allowed, seq)),
      poll: (index) => this.#to(index, (model) => this.#say(model, 'polled')),
    });
    for (let i = 0; i < workers; i++) this.join(i);
  }

  join(index: number): void {
    const { allowed, seq } = this.share.join(index);
    this.models[index] = { index, generation: ++this.#generation, allowed, seq, held: 0, demand: 0 };
  }

  die(index: number): void {
    this.models[index] = null;
    this.#channels[index] = { toWorker: [], fromWorker: [] };
    this.share.leave(index);
  }

  #to(index: number, act: (model: Model) => void): void {
    this.#channels[index]!.toWorker.push(() => {
      const model = this.models[index];
      if (model != null) act(model);
    });
  }

  #say(model: Model, reason: 'short' | 'polled' | 'fewer'): void {
    const { index, held, demand, seq } = model;
    const use = { key: '', held, want: Math.max(demand, this.#givesBack ? 0 : held), seq, reason };
    this.#channels[index]!.fromWorker.push(() => this.share.used(index, use));
  }

  #told(model: Model, allowed: number, seq: number): void {
    model.allowed = allowed;
    model.seq = seq;
    // As a pool does: who waits gets its connection at once.
    model.held = Math.max(model.held, Math.min(allowed, model.demand));
    this.#say(model, 'fewer');
  }

  /** Takes what it may, or gives back one that it does not need, or must not keep. */
  work(model: Model): void {
    if (model.held < Math.min(model.allowed, model.demand)) model.held++;
    else if (model.held > model.demand || (model.held > model.allowed && this.#givesBack)) {
      model.held--;
      if (model.held >= model.allowed) this.#say(model, 'fewer');
    } else if (model.demand > model.allowed) this.#say(model, 'short');
  }

  deliver(): boolean {
    const full = this.#channels.flatMap(({ toWorker, fromWorker }) =>
      [toWorker, fromWorker].filter((channel) => channel.length > 0),
    );
    const channel = full[this.#random(full.length)];
    channel?.shift()?.();
    return channel !== undefined;
  }

  get held(): number {
    return this.models.reduce((sum, model) => sum + (model?.held ?? 0), 0);
  }

  /** Who has held something at any time. */
  readonly served = new Set<number>();

  check(): void {
    for (const model of this.models) if (model != null && model.held > 0) this.served.add(model.index);
    assert.ok(this.held <= this.limit, `${this.held} of ${this.limit}`);
  }

  step(): void {
    const what = this.#random(100);
    const index = this.#random(this.models.length);
    const model = this.models[index];
    if (what < 45) this.deliver();
    else if (what < 90) {
      if (model != null) this.work(model);
    } else if (what < 98) {
      if (model != null) model.demand = this.#random(2 * this.limit + 1);
    } else if (model == null) this.join(index);
    else this.die(index);
    this.check();
  }

  /** Everybody says what is to be said until nothing moves. */
  settle(): void {
    for (let round = 0; round < 200; round++) {
      for (const model of this.models) if (model != null) for (let i = 0; i < 3; i++) this.work(model);
      while (this.deliver()) this.check();
      this.check();
    }
  }
}

describe('a share', () => {
  for (const [workers, limit] of [
    [2, 20],
    [2, 1],
    [3, 2],
    [4, 7],
    [8, 100],
  ] as const) {
    for (const givesBack of [true, false]) {
      test(`${limit} over ${workers}, ${givesBack ? 'server connections' : 'clients'}: never more`, () => {
        for (let seed = 1; seed <= 20; seed++) {
          const world = new World(seed, workers, limit, givesBack);
          for (let i = 0; i < 2000; i++) world.step();
        }
      });

      test(`${limit} over ${workers}, ${givesBack ? 'server connections' : 'clients'}: all to one who needs all`, () => {
        for (let seed = 1; seed <= 20; seed++) {
          const world = new World(seed, workers, limit, givesBack);
          for (let i = 0; i < 500; i++) world.step();
          for (let i = 0; i < workers; i++) if (world.models[i] === null) world.join(i);
          for (const model of world.models) model!.demand = model!.index === 0 ? limit : 0;
          world.settle();
          assert.equal(world.models[0]!.held, limit, `seed ${seed}`);
        }
      });
    }

    test(`${limit} over ${workers}: all have something in turn when all want everything`, () => {
      const world = new World(1, workers, limit, true);
      for (const model of world.models) model!.demand = limit;
      world.settle();
      // From here on: nobody is left out for ever.
      world.served.clear();
      world.settle();
      assert.equal(world.served.size, workers);
      // With less than one for each, one is always on its way from one to the next.
      if (limit >= workers) assert.equal(world.held, limit);
    });
  }

  test('a limit that falls is reached, one that rises is used', () => {
    const world = new World(3, 2, 10, true);
    for (const model of world.models) model!.demand = 10;
    world.settle();
    world.share.limit = 4;
    // Until they have acted on it they hold what they had.
    while (world.deliver());
    for (let i = 0; i < 20; i++) for (const model of world.models) world.work(model!);
    world.limit = 4;
    world.settle();
    assert.equal(world.held, 4);
    world.limit = 12;
    world.share.limit = 12;
    world.settle();
    assert.equal(world.held, 12);
  });

  test('parts are fair', () => {
    assert.deepEqual(fairParts(10, [10, 10], 0), [5, 5]);
    assert.deepEqual(fairParts(10, [2, 10], 0), [2, 8]);
    assert.deepEqual(fairParts(10, [0, 0], 0), [0, 0]);
    assert.deepEqual(fairParts(1, [1, 1], 0), [1, 0]);
    assert.deepEqual(fairParts(1, [1, 1], 1), [0, 1]);
    assert.deepEqual(fairParts(7, [9, 9, 9], 1), [2, 3, 2]);
  });
});
