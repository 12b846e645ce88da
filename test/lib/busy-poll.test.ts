// When the event loop looks for input and when it sleeps, in a time of the test's own.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BusyPoll } from '../../src/lib/busy-poll.js';

const LIMIT_US = 100;
/** A number is a client. */
type Speaker = 'client' | 'server' | number;
/** What one look takes. */
const LOOK_US = 2;

/** An event loop whose time is ours: inputs come when we say, and every turn ends with what was asked for behind it. */
class Loop {
  nowUs = 1000;
  /** Turns that found nothing. */
  looks = 0;
  #after: (() => void)[] = [];
  readonly poll = new BusyPoll({
    now: () => this.nowUs / 1000,
    afterTurn: (look) => this.#after.push(look),
  });

  constructor(limitUs = LIMIT_US) {
    this.poll.limitUs = limitUs;
  }

  /** The next turn has these inputs, `gapUs` after the last one. */
  turn(gapUs: number, ...from: Speaker[]): void {
    const atUs = this.nowUs + gapUs;
    while (this.isLooking && this.nowUs + LOOK_US < atUs) this.look(LOOK_US);
    this.nowUs = Math.max(this.nowUs, atUs);
    for (const speaker of from) {
      if (speaker === 'server') this.poll.noteServer();
      else this.poll.noteClient(speaker);
    }
    this.#endTurn();
  }

  look(tookUs: number): void {
    this.looks++;
    this.nowUs += tookUs;
    this.#endTurn();
  }

  get isLooking(): boolean {
    return this.#after.length > 0;
  }

  /** A client that asks again at once, and its server. */
  busyClient(answerUs: number, thinkUs: number, units = 40): void {
    for (let i = 0; i < units; i++) {
      this.turn(thinkUs, 'client');
      this.turn(answerUs, 'server');
    }
  }

  #endTurn(): void {
    const due = this.#after;
    this.#after = [];
    assert.ok(due.length <= 1, 'asked for twice in a turn');
    for (const look of due) look();
  }
}

describe('looking for input instead of sleeping', () => {
  it('does not look before waits have been short', () => {
    const loop = new Loop();
    loop.turn(0, 'client');
    assert.equal(loop.isLooking, false);
    loop.busyClient(5_000, 5_000);
    assert.equal(loop.looks, 0);
  });

  it('looks between the inputs of a client that asks again at once', () => {
    const loop = new Loop();
    loop.busyClient(40, 30);
    loop.looks = 0;
    loop.busyClient(40, 30, 10);
    assert.ok(loop.looks > 200, `${loop.looks} looks in 10 x 70 us`);
  });

  it('sleeps after the limit, and is asleep while nothing comes', () => {
    const loop = new Loop();
    loop.busyClient(40, 30);
    assert.ok(loop.isLooking);
    let looks = 0;
    while (loop.isLooking) {
      loop.look(LOOK_US);
      looks++;
    }
    assert.equal(looks, LIMIT_US / LOOK_US);
  });

  it('knows waits for clients from waits for servers', () => {
    const loop = new Loop();
    loop.busyClient(40, 10_000, 100);
    loop.turn(10_000, 'client');
    assert.ok(loop.isLooking, 'an answer comes soon');
    loop.turn(40, 'server');
    assert.equal(loop.isLooking, false, 'a client that thinks is not looked for');
  });

  it('learns again when waits become long, and when they become short', () => {
    const loop = new Loop();
    loop.busyClient(40, 30);
    loop.busyClient(3_000, 3_000, 30);
    loop.looks = 0;
    loop.busyClient(3_000, 3_000);
    assert.equal(loop.looks, 0);
    loop.busyClient(40, 30);
    assert.ok(loop.isLooking);
  });

  it('does not look where usually several sockets speak in one turn', () => {
    const loop = new Loop();
    loop.busyClient(40, 30);
    for (let i = 0; i < 20; i++) loop.turn(20, 'client', 'client', 'server');
    loop.looks = 0;
    for (let i = 0; i < 20; i++) loop.turn(20, 'client', 'server', 'server');
    assert.equal(loop.looks, 0);
    loop.busyClient(40, 30, 60);
    assert.ok(loop.isLooking);
  });

  it('looks for two clients by turns, and not for more', () => {
    const loop = new Loop();
    const byTurns = (clients: number, units: number): void => {
      for (let i = 0; i < units; i++) {
        loop.turn(30, i % clients);
        loop.turn(40, 'server');
      }
    };
    byTurns(2, 60);
    assert.ok(loop.isLooking);
    for (const clients of [3, 16]) {
      byTurns(clients, 60);
      loop.looks = 0;
      byTurns(clients, 60);
      assert.equal(loop.looks, 0, `${clients} clients`);
    }
    byTurns(2, 60);
    assert.ok(loop.isLooking);
  });

  it('rests where somebody else took the processor while it looked', () => {
    const loop = new Loop();
    loop.busyClient(40, 30);
    assert.ok(loop.isLooking);
    loop.look(3_000);
    assert.equal(loop.isLooking, false);
    const lostAtUs = loop.nowUs;
    while (loop.nowUs < lostAtUs + 59_000) {
      loop.turn(40, 'client');
      assert.equal(loop.isLooking, false);
    }
    while (loop.nowUs < lostAtUs + 60_000) loop.turn(40, 'client');
    loop.turn(40, 'client');
    assert.ok(loop.isLooking);
  });

  it('never looks with a limit of 0, and stops when that is set', () => {
    const off = new Loop(0);
    off.busyClient(40, 30);
    assert.equal(off.looks, 0);
    const loop = new Loop();
    loop.busyClient(40, 30);
    loop.poll.limitUs = 0;
    while (loop.isLooking) loop.look(LOOK_US);
    loop.looks = 0;
    loop.busyClient(40, 30);
    assert.equal(loop.looks, 0);
    loop.poll.limitUs = LIMIT_US;
    loop.busyClient(40, 30);
    assert.ok(loop.isLooking);
  });
});
