// The checker against a simulated store that knows the truth: no alarm over thousands of valid histories, none beside the truth
// where the gate is broken, and everything found that a session could see by itself.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Random } from '../storm/random.js';
import { check, type Verdict } from './checker.js';
import { type Entry, type History, isFailover, type Level, type Operation } from './history.js';
import { type SimulationOptions, simulate } from './simulated-store.js';
import { storyOf } from './story.js';

const LEVELS: readonly Level[] = ['session', 'strong', 'eventual'];

function variety(seed: number, changes: Partial<SimulationOptions> = {}): SimulationOptions {
  const random = new Random(seed + 77);
  return {
    seed,
    level: LEVELS[seed % 3]!,
    operations: random.int(20, 250),
    sessions: random.int(1, 8),
    lanes: random.int(1, 3),
    keys: random.int(1, 8),
    failovers: random.pick([0, 0, 1, 2]),
    broken: 0,
    ...changes,
  };
}

function told({ violations, facts }: Verdict): string {
  return violations
    .slice(0, 3)
    .flatMap((violation) => storyOf(violation, facts))
    .join('\n');
}

describe('simulated histories', () => {
  test('3,000 valid ones give no alarm', () => {
    for (let seed = 0; seed < 3_000; seed++) {
      const verdict = check(simulate(variety(seed)).history);
      assert.equal(verdict.total, 0, `seed ${seed}\n${told(verdict)}`);
    }
  });

  test('with a broken gate there is no alarm beside the truth', () => {
    let stale = 0;
    let found = 0;
    for (let seed = 0; seed < 1_500; seed++) {
      const truth = simulate(variety(seed, { broken: 0.3, level: LEVELS[seed % 2]! }));
      const verdict = check(truth.history);
      assert.equal(verdict.counts.fork + verdict.counts.fabricated, 0, `seed ${seed}\n${told(verdict)}`);
      for (const { op } of verdict.violations)
        assert.ok(truth.stale.has(op), `seed ${seed}, operation ${op}\n${told(verdict)}`);
      stale += truth.stale.size;
      found += new Set(verdict.violations.map(({ op }) => op)).size;
    }
    // What is stale shows only where the key that was read had changed meanwhile.
    assert.ok(found > stale / 10, `${found} of ${stale}`);
  });

  test('with a broken gate everything is found that a session could see by itself', () => {
    let plain = 0;
    for (let seed = 0; seed < 1_500; seed++) {
      const truth = simulate(variety(seed, { broken: 0.3, level: LEVELS[seed % 2]!, failovers: 0 }));
      const verdict = check(truth.history);
      const found = new Set(verdict.violations.map(({ op }) => op));
      for (const op of truth.plain) assert.ok(found.has(op), `seed ${seed}: operation ${op} was not found`);
      plain += truth.plain.size;
    }
    assert.ok(plain > 2_000, `only ${plain}`);
  });

  test('every kind of violation of a session comes up by its name', () => {
    const kinds = new Map<string, number>();
    for (let seed = 0; seed < 300; seed++) {
      const { history } = simulate(variety(seed, { broken: 0.3, level: LEVELS[seed % 2]!, sessions: 5 }));
      for (const { kind } of check(history).violations) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    for (const kind of [
      'read-your-writes',
      'monotonic-reads',
      'monotonic-writes',
      'writes-follow-reads',
      'real-time',
    ])
      assert.ok((kinds.get(kind) ?? 0) > 10, `${kind}: ${kinds.get(kind)}`);
  });

  test('one changed read is found', () => {
    let mutants = 0;
    for (let seed = 0; seed < 600; seed++) {
      const { history } = simulate(variety(seed, { failovers: 0, operations: 150 }));
      const random = new Random(seed);
      for (const mutate of [fabricate, swap, forget]) {
        const mutant = mutate(history, random);
        if (mutant === null) continue;
        mutants++;
        const { total } = check(mutant);
        assert.ok(total > 0, `seed ${seed}: ${mutate.name}`);
      }
    }
    assert.ok(mutants > 800, `${mutants} mutants`);
  });

  test('a history of 200,000 operations is checked in seconds', (t) => {
    const { history } = simulate({
      ...{ seed: 5, level: 'session', operations: 3_000, sessions: 20, lanes: 1, keys: 40 },
      ...{ failovers: 1, broken: 0 },
    });
    // The simulation is slow, not the check: copies side by side, with names and times of their own.
    const entries: Entry[] = [];
    const span = 1_000_000;
    for (let copy = 0; copy < 66; copy++)
      for (const entry of history.entries)
        if (!isFailover(entry)) entries.push(renamed(entry, copy, copy * span));
    const started = performance.now();
    const { operations } = check({ ...history, entries });
    t.diagnostic(`${operations} operations in ${Math.round(performance.now() - started)} ms`);
    assert.equal(operations, 198_000);
  });
});

function renamed({ s, at, do: steps, ...rest }: Operation, copy: number, by: number): Operation {
  const name = (value: string) => `${value}.${copy}`;
  return {
    ...rest,
    s,
    at: [at[0] + by, at[1] + by],
    do: steps.map((step) => {
      if (step[0] === 'l')
        return ['l', name(step[1]), step[2] === '' ? '' : step[2].split(',').map(name).join()];
      if (step[0] === 'r') return ['r', name(step[1]), step[2], step[3] === null ? null : name(step[3])];
      return step[3] === undefined
        ? ['w', name(step[1]), name(step[2])]
        : ['w', name(step[1]), name(step[2]), step[3]];
    }),
  };
}

function changed(history: History, at: number, steps: Operation['do']): History {
  return {
    ...history,
    entries: history.entries.map((entry, i) => (i === at ? { ...(entry as Operation), do: steps } : entry)),
  };
}

function places(history: History, fits: (operation: Operation) => boolean): number[] {
  return history.entries.flatMap((entry, i) => (!isFailover(entry) && fits(entry) ? [i] : []));
}

/** A value that nobody wrote. */
function fabricate(history: History, random: Random): History | null {
  const able = places(history, ({ do: [step] }) => step?.[0] === 'r');
  if (able.length === 0) return null;
  const at = random.pick(able);
  const [step] = (history.entries[at] as Operation).do;
  return changed(history, at, [['r', step![1], 3, 'nobody']]);
}

/** Two values of a list the other way round, of a list that others have seen right. */
function swap(history: History, random: Random): History | null {
  const texts = new Map<string, number>();
  for (const entry of history.entries)
    if (!isFailover(entry))
      for (const step of entry.do) if (step[0] === 'l') texts.set(step[2], (texts.get(step[2]) ?? 0) + 1);
  const able = places(
    history,
    ({ do: [step] }) => step?.[0] === 'l' && step[2].includes(',') && texts.get(step[2])! > 1,
  );
  if (able.length === 0) return null;
  const at = random.pick(able);
  const [step] = (history.entries[at] as Operation).do as readonly [readonly ['l', string, string]];
  return changed(history, at, [['l', step[1], step[2].split(',').reverse().join()]]);
}

/** Nothing where the session had seen something of the same key. */
function forget(history: History, random: Random): History | null {
  if (history.head.level === 'eventual') return null;
  const seen = new Set<string>();
  const able: number[] = [];
  const ends = new Map<string, number>();
  history.entries.forEach((entry, i) => {
    if (isFailover(entry)) return;
    const [step] = entry.do;
    if (step === undefined || step[0] === 'w') return;
    const name = `${entry.s} ${step[1]}`;
    const full = step[0] === 'l' ? step[2] !== '' : step[2] > 0;
    if (full && seen.has(name) && ends.get(name)! <= entry.at[0]) able.push(i);
    if (full && !seen.has(name)) {
      seen.add(name);
      ends.set(name, entry.at[1]);
    }
  });
  if (able.length === 0) return null;
  const at = random.pick(able);
  const [step] = (history.entries[at] as Operation).do;
  return changed(history, at, [step![0] === 'l' ? ['l', step![1], ''] : ['r', step![1], 0, null]]);
}
