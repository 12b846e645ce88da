// How many statements a server connection holds for recurring texts, by whose bound.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AutoPreparedOnServer, HeldText } from '../../src/postgres/auto-prepared.js';
import { RecurringText } from '../../src/postgres/recurring-texts.js';

const CONFIG = {};
/** Everything has been used longer ago. */
const IDLE = Number.POSITIVE_INFINITY;

class Server {
  readonly held = new AutoPreparedOnServer();
  #nowMs = 0;

  /** The texts that go for it; null: there is no room. */
  parse(
    text: RecurringText,
    maxHeld: number,
    recentMs = IDLE,
    config: object = CONFIG,
  ): RecurringText[] | null {
    const held = new HeldText(text, this.#nowMs++, 1, { maxHeld, of: config });
    return this.held.add(held, recentMs)?.map(({ of }) => of) ?? null;
  }
}

const text = (sql: string): RecurringText => new RecurringText(Buffer.from(`${sql}\0\0\0`));

test('auto-prepared: one more than the bound takes the place of the one that was used longest ago', () => {
  const server = new Server();
  const [a, b, c] = [text('a'), text('b'), text('c')];
  assert.deepEqual(server.parse(a, 2), []);
  assert.deepEqual(server.parse(b, 2), []);
  server.held.get(a)!.usedAtMs = 10;
  assert.deepEqual(server.parse(c, 2), [b]);
  assert.deepEqual(server.parse(text('d'), 2, -1), null, 'all have been used of late');
  assert.equal(server.held.size, 2);
});

test('auto-prepared: who has a low bound takes nothing from who has a higher one, and counts there', () => {
  const server = new Server();
  const wide = Array.from({ length: 4 }, (_, i) => text(`wide ${i}`));
  for (const each of wide) assert.deepEqual(server.parse(each, 5), []);
  const [a, b, c] = [text('a'), text('b'), text('c')];
  assert.deepEqual(server.parse(a, 2), []);
  assert.deepEqual(server.parse(b, 2), []);
  assert.deepEqual(server.parse(c, 2), [a]);
  for (const each of wide) assert.ok(server.held.get(each) !== undefined);
  // Six are held, of which five may be.
  assert.deepEqual(server.parse(text('wide 5'), 5), wide.slice(0, 2));
  assert.equal(server.held.size, 5);
});

test('auto-prepared: a bound that has been lowered holds for what was there', () => {
  const server = new Server();
  for (let i = 0; i < 5; i++) server.parse(text(`before ${i}`), 5);
  const now = {};
  assert.equal(server.parse(text('after'), 2, IDLE, now)?.length, 4);
  assert.equal(server.held.size, 2);
});
