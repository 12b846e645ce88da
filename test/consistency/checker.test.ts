// The checker by hand-made histories: each kind of violation planted, and beside it what looks like one and is none.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { check } from './checker.js';
import { type Entry, type Level, type Operation, readHistory, type Step, writeHistory } from './history.js';
import { storyOf } from './story.js';

type More = Partial<Pick<Operation, 'o' | 'on' | 'level'>>;

function op(s: string, start: number, end: number, steps: readonly Step[], more: More = {}): Operation {
  return { s, at: [start, end], do: steps, ...more };
}

const write = (key: string, value: string): Step => ['w', key, value];
const register = (key: string, depth: number, value: string | null): Step => ['r', key, depth, value];
const list = (key: string, values: string): Step => ['l', key, values];

function kinds(entries: readonly Entry[], level: Level = 'session'): string[] {
  const { violations, total } = check({ head: { history: 1, level }, entries });
  assert.equal(violations.length, total);
  return violations.map(({ kind }) => kind);
}

interface Case {
  readonly name: string;
  readonly level?: Level;
  readonly entries: readonly Entry[];
  readonly violations: readonly string[];
}

const cases: readonly Case[] = [
  {
    name: 'an own write is missing',
    entries: [op('a', 0, 1, [write('r1', 'x')]), op('a', 2, 3, [register('r1', 0, null)])],
    violations: ['read-your-writes'],
  },
  {
    name: 'an own write is missing, and the level promises nothing',
    level: 'eventual',
    entries: [op('a', 0, 1, [write('r1', 'x')]), op('a', 2, 3, [register('r1', 0, null)])],
    violations: [],
  },
  {
    name: 'an own write of unknown outcome is missing',
    entries: [op('a', 0, 1, [write('r1', 'x')], { o: 'unknown' }), op('a', 2, 3, [register('r1', 0, null)])],
    violations: [],
  },
  {
    name: 'a write of unknown outcome appears late, and disappears again',
    entries: [
      op('a', 0, 1, [write('r1', 'x')], { o: 'unknown' }),
      op('a', 2, 3, [register('r1', 0, null)]),
      op('a', 4, 5, [register('r1', 1, 'x')]),
      op('a', 6, 7, [register('r1', 0, null)]),
    ],
    violations: ['monotonic-reads'],
  },
  {
    name: 'the read had begun before the own write was acknowledged',
    entries: [op('a', 0, 4, [write('r1', 'x')]), op('a', 3, 5, [register('r1', 0, null)])],
    violations: [],
  },
  {
    name: 'the own write of another key is there, an earlier one of somebody else is not',
    entries: [
      op('b', 0, 1, [write('r2', 'y')]),
      op('a', 2, 3, [write('r1', 'x')]),
      op('a', 4, 5, [register('r2', 0, null)]),
    ],
    violations: ['read-your-writes'],
  },
  {
    name: 'a list goes back',
    entries: [
      op('b', 0, 1, [write('l1', 'x')]),
      op('b', 2, 3, [write('l1', 'y')]),
      op('a', 4, 5, [list('l1', 'x,y')]),
      op('c', 4, 5, [list('l1', 'x')]),
      op('a', 6, 7, [list('l1', 'x')]),
    ],
    violations: ['monotonic-reads'],
  },
  {
    name: 'state goes back, seen by two keys of two writers',
    entries: [
      op('b', 0, 1, [write('r1', 'x')]),
      op('c', 2, 3, [write('r2', 'y')]),
      op('a', 4, 5, [register('r2', 1, 'y')]),
      op('a', 6, 7, [register('r1', 0, null)]),
    ],
    violations: ['monotonic-reads'],
  },
  {
    name: 'the same, where the writes overlap',
    entries: [
      op('b', 0, 3, [write('r1', 'x')]),
      op('c', 2, 3, [write('r2', 'y')]),
      op('a', 4, 5, [register('r2', 1, 'y')]),
      op('a', 6, 7, [register('r1', 0, null)]),
    ],
    violations: [],
  },
  {
    name: "one session's second write without its first",
    entries: [
      op('b', 0, 1, [write('r1', 'x')]),
      op('b', 2, 3, [write('r2', 'y')]),
      op('a', 4, 5, [register('r2', 1, 'y')]),
      op('a', 6, 7, [register('r1', 0, null)]),
    ],
    violations: ['monotonic-writes'],
  },
  {
    name: 'the answer without the question: a write, and what its session had read before',
    entries: [
      op('c', 0, 9, [write('l1', 'question')]),
      op('b', 1, 2, [list('l1', 'question')]),
      op('b', 3, 4, [write('r2', 'answer')]),
      op('a', 5, 6, [register('r2', 1, 'answer')]),
      op('a', 7, 8, [list('l1', '')]),
    ],
    violations: ['writes-follow-reads'],
  },
  {
    name: 'the same within one transaction',
    entries: [
      op('b', 0, 1, [write('r1', 'x')]),
      op('b', 2, 3, [write('r2', 'y')]),
      op('a', 4, 5, [register('r2', 1, 'y'), register('r1', 0, null)]),
    ],
    violations: ['monotonic-reads'],
  },
  {
    name: 'a transaction reads what it has written itself, and is rolled back',
    entries: [
      op('a', 0, 1, [write('r1', 'x'), register('r1', 1, 'x')], { o: 'failed' }),
      op('a', 2, 3, [register('r1', 0, null)]),
    ],
    violations: [],
  },
  {
    name: 'what has failed is seen',
    entries: [op('a', 0, 1, [write('r1', 'x')], { o: 'failed' }), op('b', 2, 3, [register('r1', 1, 'x')])],
    violations: ['fabricated'],
  },
  {
    name: 'what nobody has written, what is written later, what is on another key',
    entries: [
      op('a', 0, 1, [register('r1', 1, 'nobody')]),
      op('a', 2, 3, [register('r2', 1, 'later')]),
      op('b', 4, 5, [write('r2', 'later')]),
      op('a', 6, 7, [register('r3', 1, 'later')]),
    ],
    violations: ['fabricated', 'fabricated', 'fabricated'],
  },
  {
    name: 'a list in two orders, and a value twice',
    entries: [
      op('a', 0, 1, [write('l1', 'x')]),
      op('b', 0, 1, [write('l1', 'y')]),
      op('c', 2, 3, [list('l1', 'x,y')]),
      op('d', 2, 3, [list('l1', 'y,x')]),
    ],
    violations: ['fork', 'fork', 'fork', 'fork', 'fork', 'fork'],
  },
  {
    name: 'two registers at one depth',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      op('b', 0, 1, [write('r1', 'y')]),
      op('c', 2, 3, [register('r1', 1, 'x')]),
      op('d', 2, 3, [register('r1', 1, 'y')]),
    ],
    violations: ['fork'],
  },
  {
    name: 'strong: what was acknowledged to another session',
    level: 'strong',
    entries: [op('a', 0, 1, [write('r1', 'x')]), op('b', 2, 3, [register('r1', 0, null)])],
    violations: ['real-time'],
  },
  {
    name: 'strong: what another session has seen, though nobody was told that it is written',
    level: 'strong',
    entries: [
      op('a', 0, 1, [write('r1', 'x')], { o: 'unknown' }),
      op('b', 2, 3, [register('r1', 1, 'x')]),
      op('c', 4, 5, [register('r1', 0, null)]),
    ],
    violations: ['real-time'],
  },
  {
    name: 'strong: the read had begun before',
    level: 'strong',
    entries: [op('a', 0, 2, [write('r1', 'x')]), op('b', 1, 3, [register('r1', 0, null)])],
    violations: [],
  },
  {
    name: 'one strong read among others',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      op('b', 2, 3, [register('r1', 0, null)]),
      op('c', 2, 3, [register('r1', 0, null)], { level: 'strong' }),
    ],
    violations: ['real-time'],
  },
  {
    name: 'a failover loses what was acknowledged last, for everybody',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      op('a', 2, 3, [write('r1', 'lost')]),
      op('a', 4, 5, [register('r1', 2, 'lost')]),
      { failover: [6, 8] },
      op('a', 9, 10, [register('r1', 1, 'x')], { level: 'strong' }),
      op('b', 11, 12, [write('r1', 'z')]),
      op('a', 13, 14, [register('r1', 2, 'z')]),
    ],
    violations: [],
  },
  {
    name: 'what was lost flickers: two histories after the failover',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      op('a', 2, 3, [write('r1', 'lost')]),
      { failover: [6, 8] },
      op('b', 9, 10, [write('r1', 'z')]),
      op('c', 11, 12, [register('r1', 2, 'z')]),
      op('d', 11, 12, [register('r1', 2, 'lost')]),
    ],
    violations: ['fork'],
  },
  {
    name: 'what was lost flickers: it is seen and is gone again',
    entries: [
      op('a', 0, 1, [write('l1', 'lost')]),
      { failover: [6, 8] },
      op('b', 9, 10, [list('l1', '')]),
      op('b', 11, 12, [list('l1', 'lost')]),
      op('b', 13, 14, [list('l1', '')]),
    ],
    violations: ['monotonic-reads'],
  },
  {
    name: 'what survived is still owed after the failover',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      { failover: [6, 8] },
      op('b', 9, 10, [register('r1', 1, 'x')]),
      op('a', 11, 12, [register('r1', 0, null)]),
    ],
    violations: ['read-your-writes'],
  },
  {
    name: 'with what survived, what was committed before it has survived',
    entries: [
      op('a', 0, 1, [write('r1', 'x')]),
      op('b', 2, 3, [write('r2', 'y')]),
      { failover: [6, 8] },
      op('b', 9, 10, [register('r2', 1, 'y')]),
      op('a', 11, 12, [register('r1', 0, null)]),
    ],
    violations: ['read-your-writes'],
  },
  {
    name: 'a write that waited for the new primary proves nothing of the old one',
    entries: [
      op('a', 0, 1, [write('r1', 'lost')]),
      op('b', 2, 9, [write('r2', 'held')]),
      { failover: [3, 8] },
      op('b', 10, 11, [register('r2', 1, 'held')]),
      op('a', 12, 13, [register('r1', 0, null)]),
    ],
    violations: [],
  },
  {
    name: 'a new connection is a new session',
    entries: [op('a#1', 0, 1, [write('r1', 'x')]), op('a#2', 2, 3, [register('r1', 0, null)])],
    violations: [],
  },
];

describe('a history is judged', () => {
  for (const { name, level, entries, violations } of cases)
    test(name, () => assert.deepEqual(kinds(entries, level), violations));
});

test('a history that was written down is the same history', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'scheelite-history-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'history.jsonl');
  const entries: Entry[] = [
    op('a', 0.001, 1.5, [write('r1', 'x'), ['w', 'l1', 'y', 4]], { on: 'node2' }),
    { failover: [2, 3] },
    op('b', 4, 5, [register('r1', 1, 'x'), list('l1', '')], { o: 'unknown', level: 'strong' }),
  ];
  const history = { head: { history: 1, level: 'session', about: { seed: 1 } }, entries } as const;
  await writeHistory(file, history);
  assert.deepEqual(await readHistory(file), history);

  for (const [text, message] of [
    ['', /empty/],
    ['{"storm":1}\n', /not a history/],
    ['{"history":1,"level":"session"}\n{"s":"a","at":[2,1],"do":[]}\n', /:2: no times/],
    ['{"history":1,"level":"session"}\n{"s":"a","at":[1,2]}\n', /:2: neither/],
    ['{"history":1,"level":"session"}\nx\n', /:2: not JSON/],
  ] as const) {
    writeFileSync(file, text);
    await assert.rejects(readHistory(file), message);
  }
});

test('a violation is told so that a person can follow it', () => {
  const { violations, facts } = check({
    head: { history: 1, level: 'session' },
    entries: [
      op('alice', 0, 1, [write('r1', 'x')], { on: 'node1' }),
      op('alice', 2, 3, [register('r1', 0, null)], { on: 'node3' }),
    ],
  });
  assert.deepEqual(storyOf(violations[0]!, facts), [
    'read-your-writes: operation 1 read depth 0 of r1, of which its session had written 1',
    '  earlier: 0 at 0.000-1.000 ms alice on node1 : write x to r1',
    '  then:    1 at 2.000-3.000 ms alice on node3 : r1 = - at depth 0 !',
  ]);
});
