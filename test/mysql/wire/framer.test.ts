// The packet framer at every split point of its input, and what it refuses.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePackets, PacketWriter } from '../../../src/mysql/wire/bytes.js';
import { PacketFramer, payloadOf, sequenceAfter } from '../../../src/mysql/wire/framer.js';

const packet = (text: string, sequence: number): Buffer => new PacketWriter().text(text).packet(sequence);

/** What a framer makes of a stream: "P" passes, "D" is dropped, everything else is taken. */
function run(chunks: Buffer[], limit = 1 << 20): { passed: string; taken: string[]; events: string[] } {
  const framer = new PacketFramer(limit);
  const passed: Buffer[] = [];
  const taken: string[] = [];
  const events: string[] = [];
  const flush = (): void => {
    const run = framer.takeRun();
    if (run !== null) passed.push(run);
  };
  for (const chunk of chunks) {
    framer.push(chunk);
    for (let verb = framer.next(); verb !== 'more'; verb = framer.next()) {
      assert.equal(verb, 'ready', String(framer.failure));
      if (framer.firstByte === 0x50) framer.pass();
      else {
        flush();
        if (framer.firstByte === 0x44) framer.drop();
        else {
          const frame = framer.take();
          if (frame === null) continue;
          taken.push(payloadOf(frame).toString());
          events.push(`${framer.length}/${framer.sequence}`);
        }
      }
    }
    flush();
  }
  assert.ok(framer.isBetweenPackets);
  return { passed: Buffer.concat(passed).toString('latin1'), taken, events };
}

describe('PacketFramer', () => {
  const parts = [
    packet('Pone', 1),
    packet('Ptwo', 2),
    packet('Ddropped', 3),
    packet('taken', 4),
    packet('', 5),
    packet('Pthree', 6),
    packet('Also taken', 7),
  ];
  const stream = Buffer.concat(parts);
  const expected = {
    passed: Buffer.concat([parts[0]!, parts[1]!, parts[5]!]).toString('latin1'),
    taken: ['taken', '', 'Also taken'],
    events: ['5/4', '0/5', '10/7'],
  };

  it('gives the same at every split point', () => {
    for (let i = 0; i <= stream.length; i++)
      assert.deepEqual(run([stream.subarray(0, i), stream.subarray(i)]), expected, `split at ${i}`);
  });

  it('gives the same at every pair of split points, and byte by byte', () => {
    for (let i = 0; i < stream.length; i += 3)
      for (let j = i; j < stream.length; j += 2)
        assert.deepEqual(
          run([stream.subarray(0, i), stream.subarray(i, j), stream.subarray(j)]),
          expected,
          `split at ${i} and ${j}`,
        );
    assert.deepEqual(run(Array.from(stream, (byte) => Buffer.of(byte))), expected);
  });

  it('passes rows together as one by one, at every split point', () => {
    const bytes = (first: number, length: number, sequence: number): Buffer =>
      new PacketWriter().bytes(Buffer.alloc(length, first)).packet(sequence);
    const rows = [
      ...[bytes(1, 5, 254), bytes(0xfb, 1, 255), bytes(0, 300, 0), bytes(0, 0, 1), bytes(0xfd, 9, 2)],
      ...[bytes(0xfe, 12, 3), bytes(2, 2, 4), bytes(3, 1, 5), bytes(0xfe, 5, 6), bytes(4, 4, 7)],
    ];
    const all = Buffer.concat(rows);
    const read = (chunks: Buffer[], together: boolean): string => {
      const framer = new PacketFramer(1000);
      const passed: Buffer[] = [];
      const seen: string[] = [];
      let count = 0;
      for (const chunk of chunks) {
        framer.push(chunk);
        while (framer.next() === 'ready') {
          // What has to be looked at: the end of a result set.
          const isEnd = framer.firstByte === 0xfe && framer.length < 9;
          framer.pass();
          count++;
          if (together && !isEnd) count += framer.passRows();
          if (isEnd) seen.push(`${count} behind ${framer.sequence}`);
        }
        const run = framer.takeRun();
        if (run !== null) passed.push(run);
      }
      assert.ok(framer.isBetweenPackets);
      assert.deepEqual(Buffer.concat(passed), all);
      return `${seen} ${count} ${framer.sequence}`;
    };
    assert.equal(read([all], false), '9 behind 6 10 7');
    for (let i = 0; i <= all.length; i++)
      assert.equal(read([all.subarray(0, i), all.subarray(i)], true), '9 behind 6 10 7', `split at ${i}`);
    const framer = new PacketFramer(1000);
    framer.push(all);
    framer.next();
    framer.pass();
    assert.equal(framer.passRows(), 2);
  });

  it('keeps the order of chunks, whenever they come and however far it has been read', () => {
    const numbers = Array.from({ length: 40 }, (_, i) =>
      packet(`N${String(i).padStart(1 + (i % 4), '0')}`, 0),
    );
    const stream = Buffer.concat(numbers);
    for (let seed = 1; seed <= 300; seed++) {
      const framer = new PacketFramer(1 << 20);
      const seen: string[] = [];
      const read = (most: number): void => {
        for (let i = 0; i < most && framer.next() === 'ready'; ) {
          const frame = framer.take();
          if (frame === null) continue;
          seen.push(frame.toString('hex'));
          i++;
        }
      };
      for (let at = 0, k = 0; at < stream.length; k++) {
        const bytes = seed % 2 === 0 ? numbers[k]!.length : 1 + ((k * 7 + seed * 13) % 20);
        framer.push(stream.subarray(at, at + bytes));
        at += bytes;
        read((k * 5 + seed * 3) % 3);
      }
      read(Number.POSITIVE_INFINITY);
      assert.deepEqual(
        seen,
        numbers.map((each) => each.toString('hex')),
        `seed ${seed}`,
      );
    }
  });

  it('does not copy what lies whole in a chunk', () => {
    const framer = new PacketFramer(1000);
    framer.push(stream);
    assert.equal(framer.next(), 'ready');
    framer.pass();
    assert.equal(framer.next(), 'ready');
    framer.pass();
    assert.equal(framer.takeRun()!.buffer, stream.buffer);
    framer.next();
    framer.drop();
    framer.next();
    assert.equal(framer.take()!.buffer, stream.buffer);
  });

  it('joins and passes packets over 16 MiB, whatever byte their continuation starts with', () => {
    const big = Buffer.alloc(0xffffff * 2 + 5, 'T');
    big[0xffffff] = 0xff;
    const whole = encodePackets(big, 250);
    const chunks: Buffer[] = [];
    for (let at = 0; at < whole.length; at += 1_000_003) chunks.push(whole.subarray(at, at + 1_000_003));
    const framer = new PacketFramer(64 << 20);
    let frame: Buffer | null = null;
    for (const chunk of chunks) {
      framer.push(chunk);
      while (framer.next() === 'ready') frame = framer.take();
    }
    assert.ok(frame !== null);
    assert.ok(frame.equals(whole));
    assert.ok(payloadOf(frame).equals(big));
    assert.equal(sequenceAfter(frame), 253);

    const passing = new PacketFramer(0);
    let bytes = 0;
    let ready = 0;
    for (const chunk of chunks) {
      passing.push(chunk);
      while (passing.next() === 'ready') {
        ready++;
        passing.pass();
      }
      bytes += passing.takeRun()?.length ?? 0;
    }
    assert.equal(bytes, whole.length);
    assert.equal(ready, 1);
  });

  it('follows a packet of exactly 16 MiB - 1 with an empty one', () => {
    const whole = encodePackets(Buffer.alloc(0xffffff, 'T'), 0);
    assert.equal(whole.length, 0xffffff + 8);
    const framer = new PacketFramer(32 << 20);
    framer.push(whole.subarray(0, whole.length - 4));
    assert.equal(framer.next(), 'ready');
    assert.equal(framer.take(), null);
    assert.equal(framer.next(), 'more');
    framer.push(whole.subarray(whole.length - 4));
    assert.equal(framer.next(), 'ready');
    assert.equal(payloadOf(framer.take()!).length, 0xffffff);
  });

  it('refuses a length over its limit when it has seen the header only', () => {
    const framer = new PacketFramer(16_384);
    framer.push(Buffer.from([0xff, 0xff, 0xff, 0, 0x03]));
    assert.equal(framer.next(), 'ready');
    assert.equal(framer.take(), null);
    assert.equal(framer.next(), 'stop');
    assert.equal(framer.failure?.code, 'message-too-large');
  });

  it('refuses continuations that sum up to more than its limit', () => {
    const framer = new PacketFramer(20 << 20);
    const whole = encodePackets(Buffer.alloc(0xffffff + 10_000_000, 'T'), 0);
    framer.push(whole.subarray(0, 0xffffff + 8));
    framer.next();
    assert.equal(framer.take(), null);
    assert.equal(framer.next(), 'stop');
    assert.equal(framer.failure?.code, 'message-too-large');
  });

  it('refuses a continuation out of sequence', () => {
    const whole = encodePackets(Buffer.alloc(0xffffff + 10, 'T'), 0);
    whole[0xffffff + 4 + 3] = 7;
    const framer = new PacketFramer(32 << 20);
    framer.push(whole);
    framer.next();
    framer.take();
    assert.equal(framer.next(), 'stop');
    assert.equal(framer.failure?.code, 'protocol-violation');
  });
});
