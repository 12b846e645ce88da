// The framer, with its input cut at every point, with bytes one by one, and with lengths that lie.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BACKEND } from '../../../src/postgres/wire/backend.js';
import {
  backendLimits,
  Framer,
  type FramerOptions,
  frontendLimits,
  LOGIN_LIMIT_BYTES,
  loginFrontendLimits,
} from '../../../src/postgres/wire/framer.js';
import {
  buildBind,
  buildDescribe,
  buildExecute,
  buildParse,
  buildPassword,
  buildQuery,
  SYNC,
  TERMINATE,
} from '../../../src/postgres/wire/frontend.js';
import { buildSslRequest, buildStartupMessage } from '../../../src/postgres/wire/startup.js';
import { Random } from './random.js';

const MIB = 1024 * 1024;

function message(type: number, bodyBytes: number, fill = 0x61): Buffer {
  const buffer = Buffer.alloc(5 + bodyBytes, fill);
  buffer[0] = type;
  buffer.writeInt32BE(4 + bodyBytes, 1);
  return buffer;
}

/** What the framer answers for these chunks: each whole message as `type:hex`, segments joined. */
function frame(options: FramerOptions, chunks: Buffer[], onMessage?: (framer: Framer) => void): string[] {
  const framer = new Framer(options);
  const messages: string[] = [];
  let parts: Buffer[] = [];
  for (const chunk of chunks) {
    framer.push(chunk);
    for (;;) {
      const answer = framer.next();
      if (answer === 'stop') return [...messages, `stop ${framer.error?.code}: ${framer.error?.message}`];
      if (answer === 'more') break;
      if (framer.isFirst) {
        assert.equal(parts.length, 0, 'a message began inside another one');
        if (framer.type !== 0) assert.equal(framer.buffer[framer.start], framer.type);
        if (!framer.isLast) assert.ok(framer.end - framer.start >= 5, 'the header comes at once');
      }
      parts.push(framer.buffer.subarray(framer.start, framer.end));
      if (!framer.isLast) continue;
      const whole = Buffer.concat(parts);
      assert.equal(whole.length, framer.messageBytes);
      messages.push(whole.toString('hex'));
      parts = [];
      onMessage?.(framer);
    }
  }
  return messages;
}

const BATCH = [
  buildParse('s1', 'select $1::int', [23]),
  buildBind('', 's1', ['7']),
  buildDescribe('portal', ''),
  buildExecute(''),
  SYNC,
  buildQuery(''),
  TERMINATE,
];
const REPLY = [
  message(BACKEND.rowDescription, 30),
  message(BACKEND.dataRow, 0),
  message(BACKEND.dataRow, 200, 0x00),
  message(BACKEND.copyData, 64),
  message(BACKEND.commandComplete, 9),
  message(BACKEND.readyForQuery, 1),
];

describe('framer', () => {
  it('finds the same messages wherever the stream is cut in two', () => {
    const stream = Buffer.concat(BATCH);
    const expected = BATCH.map((one) => one.toString('hex'));
    for (let cut = 0; cut <= stream.length; cut++) {
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)];
      assert.deepEqual(frame({ limits: frontendLimits(MIB) }, chunks), expected, `cut at ${cut}`);
    }
  });

  it('finds the same messages in chunks of any one size', () => {
    const stream = Buffer.concat(REPLY);
    const expected = REPLY.map((one) => one.toString('hex'));
    for (let size = 1; size <= stream.length; size++) {
      const chunks: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      assert.deepEqual(frame({ limits: backendLimits(MIB) }, chunks), expected, `chunks of ${size}`);
    }
  });

  it('streams long rows in segments that join to the same bytes, at every cut and chunk size', () => {
    const stream = Buffer.concat(REPLY);
    const expected = REPLY.map((one) => one.toString('hex'));
    const options = { limits: backendLimits(MIB), streamAboveBytes: 32 };
    for (let cut = 0; cut <= stream.length; cut++) {
      assert.deepEqual(
        frame(options, [stream.subarray(0, cut), stream.subarray(cut)]),
        expected,
        `cut at ${cut}`,
      );
    }
    for (let size = 1; size <= stream.length; size++) {
      const chunks: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      assert.deepEqual(frame(options, chunks), expected, `chunks of ${size}`);
    }
  });

  it('takes chunks that are pushed before the ones before them are read', () => {
    const stream = Buffer.concat(BATCH);
    for (let cut = 1; cut < stream.length; cut++) {
      const framer = new Framer({ limits: frontendLimits(MIB) });
      framer.push(stream.subarray(0, cut));
      framer.push(stream.subarray(cut));
      assert.equal(framer.pendingBytes, stream.length);
      let count = 0;
      while (framer.next() === 'ready') count++;
      assert.equal(count, BATCH.length);
      assert.ok(framer.isBetweenMessages);
    }
  });

  it('keeps the order of chunks, whenever they come and however far it has been read', () => {
    const numbers = Array.from({ length: 40 }, (_, i) => buildQuery(String(i).padStart(1 + (i % 4), '0')));
    const expected = numbers.map((each) => each.toString('hex'));
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      const stream = Buffer.concat(numbers);
      const chunks: Buffer[] = [];
      for (let at = 0, k = 0; at < stream.length; ) {
        // One message each, as drivers write them, or anything.
        const bytes = seed % 2 === 0 ? numbers[k++]!.length : 1 + random.below(20);
        chunks.push(stream.subarray(at, at + bytes));
        at += bytes;
      }
      const framer = new Framer({ limits: frontendLimits(MIB) });
      const seen: string[] = [];
      const read = (most: number): void => {
        for (let i = 0; i < most && framer.next() === 'ready'; i++)
          seen.push(framer.buffer.subarray(framer.start, framer.end).toString('hex'));
      };
      for (const chunk of chunks) {
        framer.push(chunk);
        read(random.below(3));
      }
      read(Number.POSITIVE_INFINITY);
      assert.deepEqual(seen, expected, `seed ${seed}`);
      assert.ok(framer.isBetweenMessages);
    }
  });

  it('answers a message inside a chunk in place, without a copy', () => {
    const chunk = Buffer.concat(BATCH);
    const framer = new Framer({ limits: frontendLimits(MIB) });
    framer.push(chunk);
    while (framer.next() === 'ready') assert.equal(framer.buffer, chunk);
  });

  it('reads a startup packet and then messages, at every cut', () => {
    const startup = buildStartupMessage([
      ['user', 'app'],
      ['database', 'ledger'],
    ]);
    const password = buildPassword('secret');
    const stream = Buffer.concat([startup, password]);
    const expected = [startup.toString('hex'), password.toString('hex')];
    for (let cut = 0; cut <= stream.length; cut++) {
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)];
      const options = { limits: loginFrontendLimits(), startup: true };
      assert.deepEqual(
        frame(options, chunks, (framer) => framer.expectMessages()),
        expected,
        `cut at ${cut}`,
      );
    }
  });

  it('shows that bytes came behind an SSLRequest', () => {
    const framer = new Framer({ limits: loginFrontendLimits(), startup: true });
    framer.push(Buffer.concat([buildSslRequest(), Buffer.from('x')]));
    assert.equal(framer.next(), 'ready');
    assert.equal(framer.pendingBytes, 1);
  });

  it('assembles 8 MiB from small chunks in linear time and to the same bytes', () => {
    const bytes = 8 * MIB;
    const stream = message(BACKEND.rowDescription, bytes);
    for (let at = 5; at < stream.length; at += 4096) stream.writeUInt8((at >> 12) & 0xff, at);
    const framer = new Framer({ limits: backendLimits(16 * MIB) });
    let copied = 0;
    let last: Buffer | null = null;
    for (let at = 0; at < stream.length; at += 1000) {
      framer.push(stream.subarray(at, at + 1000));
      const answer = framer.next();
      if (answer === 'ready') last = framer.buffer.subarray(framer.start, framer.end);
      else assert.equal(answer, 'more');
      copied++;
    }
    assert.equal(copied, Math.ceil(stream.length / 1000));
    assert.ok(last?.equals(stream));
  });

  it('keeps memory bounded while a row of 1 GiB passes', () => {
    const framer = new Framer({ limits: backendLimits(MIB), streamAboveBytes: 64 * 1024 });
    const header = Buffer.alloc(5);
    header[0] = BACKEND.dataRow;
    header.writeInt32BE(2 ** 30 - 1, 1);
    const chunk = Buffer.alloc(MIB);
    framer.push(header);
    let seen = 0;
    let left = 2 ** 30 - 5;
    assert.equal(framer.next(), 'ready');
    assert.ok(framer.isFirst && !framer.isLast);
    seen += framer.end - framer.start;
    while (left > 0) {
      const slice = chunk.subarray(0, Math.min(chunk.length, left));
      left -= slice.length;
      framer.push(slice);
      assert.equal(framer.next(), 'ready');
      assert.equal(framer.buffer.buffer, chunk.buffer, 'a segment is a slice of its chunk');
      seen += framer.end - framer.start;
    }
    assert.ok(framer.isLast);
    assert.equal(seen, 2 ** 30);
    assert.equal(framer.next(), 'more');
    framer.push(REPLY[5]!);
    assert.equal(framer.next(), 'ready');
    assert.equal(framer.type, BACKEND.readyForQuery);
    assert.ok(framer.isFirst && framer.isLast);
  });

  it('takes memory for the bytes that came, not for the length that was announced', () => {
    const before = process.memoryUsage().arrayBuffers;
    const framers: Framer[] = [];
    for (let index = 0; index < 100; index++) {
      const framer = new Framer({ limits: frontendLimits(2 ** 30) });
      framer.push(Buffer.from([0x51, 0x3f, 0xff, 0xff, 0xf0, 0x61]));
      assert.equal(framer.next(), 'more');
      framers.push(framer);
    }
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * MIB);
    assert.equal(framers.length, 100);
  });
});

describe('framer refuses', () => {
  const limits = frontendLimits(MIB);
  const cases: [name: string, options: FramerOptions, bytes: Buffer, expected: RegExp][] = [
    ['a length below 4', { limits }, Buffer.from([0x51, 0, 0, 0, 3]), /protocol-violation.*length of 3/],
    [
      'a negative length',
      { limits },
      Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]),
      /protocol-violation.*length of -1/,
    ],
    [
      'a length of 2 GiB',
      { limits },
      Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff]),
      /message-too-large.*2147483648/,
    ],
    ['a long Sync', { limits }, Buffer.from([0x53, 0, 0, 0x7f, 0xff]), /message-too-large.*32768.*10000/],
    ['an unknown type, before its length', { limits }, Buffer.from('G'), /protocol-violation.*'G'/],
    [
      'a backend type from an application',
      { limits },
      message(BACKEND.readyForQuery, 1),
      /unexpected message type 'Z'/,
    ],
    [
      'a query before the login',
      { limits: loginFrontendLimits() },
      buildQuery('select 1'),
      /message type 'Q'/,
    ],
    [
      'a password of more than 10 kB before the login',
      { limits: loginFrontendLimits() },
      message(0x70, LOGIN_LIMIT_BYTES),
      /message-too-large.*10005/,
    ],
    [
      'a row that is longer than the limit and not streamed',
      { limits: backendLimits(1000) },
      message(BACKEND.dataRow, 2000),
      /message-too-large.*2005.*1000/,
    ],
    [
      'HTTP',
      { limits: loginFrontendLimits(), startup: true },
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      /protocol-violation.*startup packet of \d+ bytes/,
    ],
    [
      'a startup packet without a version',
      { limits: loginFrontendLimits(), startup: true },
      Buffer.from([0, 0, 0, 4]),
      /protocol-violation.*length of 4/,
    ],
    [
      'a startup packet of 10,001 bytes',
      { limits: loginFrontendLimits(), startup: true },
      Buffer.from([0, 0, 0x27, 0x11, 0, 3, 0, 0]),
      /startup packet of 10001 bytes/,
    ],
  ];
  for (const [name, options, bytes, expected] of cases) {
    it(name, () => {
      for (const chunks of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
        const answers = frame(options, chunks);
        assert.equal(answers.length, 1);
        assert.match(answers[0]!, expected);
      }
    });
  }

  it('everything after the first refusal', () => {
    const framer = new Framer({ limits });
    framer.push(Buffer.from('???'));
    assert.equal(framer.next(), 'stop');
    framer.push(SYNC);
    assert.equal(framer.next(), 'stop');
    assert.equal(framer.error?.code, 'protocol-violation');
  });
});

describe('rows that are joined', () => {
  const rows = [message(BACKEND.dataRow, 3), message(BACKEND.dataRow, 0), message(BACKEND.dataRow, 40)];
  const tag = message(BACKEND.commandComplete, 9);
  const stream = Buffer.concat([...rows, tag, ...rows, tag]);

  /** Pairs of type and bytes; an answer that goes on with the type before is part of it. */
  function joined(chunks: readonly Buffer[], streamAboveBytes?: number): [number, string][] {
    const framer = new Framer({
      limits: backendLimits(MIB),
      ...(streamAboveBytes ? { streamAboveBytes } : {}),
    });
    const answers: [number, string][] = [];
    for (const chunk of chunks) {
      framer.push(chunk);
      for (let answer = framer.next(); answer !== 'more'; answer = framer.next()) {
        assert.equal(answer, 'ready');
        if (framer.type === BACKEND.dataRow) framer.joinSame();
        const bytes = framer.buffer.toString('hex', framer.start, framer.end);
        const last = answers.at(-1);
        if (last?.[0] === framer.type) last[1] += bytes;
        else answers.push([framer.type, bytes]);
      }
    }
    assert.ok(framer.isBetweenMessages);
    return answers;
  }

  const hex = (messages: readonly Buffer[]): string => Buffer.concat(messages).toString('hex');
  const expected: [number, string][] = [
    [BACKEND.dataRow, hex(rows)],
    [BACKEND.commandComplete, hex([tag])],
    [BACKEND.dataRow, hex(rows)],
    [BACKEND.commandComplete, hex([tag])],
  ];

  it('are one answer where they are in one piece', () => {
    const framer = new Framer({ limits: backendLimits(MIB) });
    framer.push(stream);
    assert.equal(framer.next(), 'ready');
    framer.joinSame();
    assert.equal(framer.buffer.toString('hex', framer.start, framer.end), hex(rows));
  });

  for (const streamAboveBytes of [undefined, 20])
    it(`are cut anywhere, streamed above ${streamAboveBytes ?? 'no'} bytes`, () => {
      for (let a = 0; a <= stream.length; a++)
        for (let b = a; b <= stream.length; b += 7)
          assert.deepEqual(
            joined([stream.subarray(0, a), stream.subarray(a, b), stream.subarray(b)], streamAboveBytes),
            expected,
            `${a}, ${b}`,
          );
    });

  for (const [what, length] of [
    ['too short', 3],
    ['negative', -1],
    ['too long', MIB + 1],
  ] as const)
    it(`a length that is ${what} is found by the next one`, () => {
      const bad = message(BACKEND.dataRow, 10);
      bad.writeInt32BE(length, 1);
      const framer = new Framer({ limits: backendLimits(MIB) });
      framer.push(Buffer.concat([rows[0]!, bad]));
      assert.equal(framer.next(), 'ready');
      framer.joinSame();
      assert.equal(framer.end - framer.start, rows[0]!.length);
      assert.equal(framer.next(), 'stop');
    });
});
