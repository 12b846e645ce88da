// A storm's client before a planted server, in a protocol of their own: what is late, lost, doubled or exchanged is a violation.

import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Address } from '../e2e/driver.js';
import { type Speech, StormClient } from './client.js';
import { Random } from './random.js';
import { Tally } from './tally.js';
import { type Unit, Weather } from './unit.js';
import { Wire } from './wire.js';

/** Lines; one that is a full stop ends a reply. */
class LineWire extends Wire {
  readonly #patienceMs: number | undefined;

  constructor(patienceMs: number | undefined) {
    super();
    this.#patienceMs = patienceMs;
  }

  open(at: Address): Promise<void> {
    return this.dial(at);
  }

  override reply(deadlineMs?: number): Promise<string[]> {
    return super.reply(this.#patienceMs ?? deadlineMs);
  }

  protected override take(bytes: Buffer): number {
    const whole = bytes.lastIndexOf('\n') + 1;
    for (const line of bytes.toString('utf8', 0, whole).split('\n').slice(0, -1)) {
      if (line === '.') this.replyEnds();
      else this.lines.push(line);
    }
    return whole;
  }
}

/** What it says when it is asked for the n-th time; null: it hangs up behind what it has said. */
type Script = (n: number) => readonly (string | null)[];

const right = (n: number) => `row 7|${n}\n.\n`;

async function serve(script: Script): Promise<Server> {
  const server = createServer((socket) => {
    let rest = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop()!;
      const said = lines.flatMap((line) => script(Number(line)));
      // In one write, so that what is too much is there as soon as what is right.
      socket.write(said.filter((text) => text !== null).join(''));
      if (said.includes(null)) socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

interface Talk {
  /** How often it asks, and how many units each time. */
  readonly times?: number;
  readonly units?: number;
  readonly patienceMs?: number;
  readonly mistake?: true;
}

async function talk(t: TestContext, script: Script, about: Talk = {}): Promise<Tally> {
  const { times = 2, units = 3, patienceMs, mistake } = about;
  const server = await serve(script);
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const [tally, weather] = [new Tally(), new Weather()];
  let asked = 0;
  const speech: Speech<LineWire, null> = {
    rules: { allows: () => false, isTail: () => false },
    async open() {
      const wire = new LineWire(patienceMs);
      await wire.open({ host: '127.0.0.1', port });
      return wire;
    },
    freshState: () => null,
    announce: () => {},
    operations: [
      {
        name: 'asks',
        weight: 1,
        async run(client) {
          if (++asked === times) weather.over = true;
          if (mistake) throw new TypeError('planted');
          const list = Array.from({ length: units }, (): Unit => {
            const k = client.next();
            const text = String(k);
            return {
              kind: 'ask',
              text,
              bytes: Buffer.from(`${k}\n`),
              expect: [`row 7|${k}`],
              class: 'read',
            };
          });
          await client.runAll(list);
        },
      },
    ],
  };
  await new StormClient(7, speech, new Random(1), tally, weather).live();
  return tally;
}

test('right replies, one after the other, are no violation', async (t) => {
  const tally = await talk(t, (n) => [right(n)]);
  assert.deepEqual(tally.violations, []);
  assert.equal(tally.answered.ask, 6);
});

const wrong: readonly [string, RegExp, Script, Talk?][] = [
  ["another client's number", /instead of "row 7\|1"/, (n) => [`row 8|${n}\n.\n`]],
  ['rows of another counter', /instead of "row 7\|1"/, (n) => [`row 7|${n + 1}\n.\n`]],
  [
    'two replies exchanged',
    /"row 7\|3" instead of "row 7\|2"/,
    (n) => (n === 2 ? [] : n === 3 ? [right(3), right(2)] : [right(n)]),
  ],
  ['a reply that is left out', /"row 7\|3" instead of "row 7\|2"/, (n) => (n === 2 ? [] : [right(n)])],
  [
    'a reply twice, in a pipeline',
    /"row 7\|1" instead of "row 7\|2"/,
    (n) => [right(n), n === 1 ? right(n) : ''],
  ],
  [
    'a reply twice, when nothing is asked',
    /a message that nothing asked for/,
    (n) => [right(n), right(n)],
    { units: 1, times: 1 },
  ],
  [
    'the beginning of a reply, when nothing is asked',
    /a message that nothing asked for/,
    (n) => [right(n), 'row\n'],
    { units: 1, times: 1 },
  ],
  [
    'a reply that never comes',
    /no answer in time/,
    (n) => (n === 3 ? [] : [right(n)]),
    { times: 1, patienceMs: 100 },
  ],
  [
    'replies that are late, each by one',
    /no answer in time/,
    (n) => (n === 1 ? [] : [right(n - 1)]),
    { units: 1, patienceMs: 100 },
  ],
  ['half a reply', /no answer in time/, (n) => [`row 7|${n}\n`], { units: 1, times: 1, patienceMs: 100 }],
  ['an end in place of a reply', /"END" instead of/, (n) => (n === 2 ? [null] : [right(n)]), { units: 1 }],
  [
    'an end behind a reply',
    /was ended while it asked for nothing|"END" instead of/,
    (n) => [right(n), null],
    { units: 1 },
  ],
  ['an error that nothing explains', /an error that it cannot have: E 1/, () => ['E 1 planted\n.\n']],
  ['a mistake of the storm itself', /a mistake of the storm/, () => [], { mistake: true }],
];

for (const [what, expected, script, about] of wrong) {
  test(`${what}: a violation`, async (t) => {
    const tally = await talk(t, script, about);
    const [first] = tally.violations;
    assert.match(first?.what ?? 'no violation', expected);
    assert.equal(first?.client, 7);
    assert.ok(first.story.length > 0, 'it has no story');
    assert.equal(tally.violationCount, tally.violations.length);
  });
}
