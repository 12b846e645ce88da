// Tries the patterns of routing rules on shapes, each within a bound of time: a pattern may need more of it than there is.
// It knows no unit; answers are remembered by whoever asks.

import { createContext, Script } from 'node:vm';
import type { RuleConfig } from '../config/schema.js';
import type { PatternTest } from '../routing/rules.js';

/** For one shape of 2 kB at most; what is not pathological takes microseconds. */
const MAX_MS = 20;
/** A collection of garbage may have taken the time of one. */
const MAX_SPENT = 2;
/** Where somebody else has the processor, a try ends before it has begun; each is one of these. */
const MAX_TRIES = 10;
/** A pattern that was too slow so often is not tried any more. */
const MAX_FAILURES = 3;

/**
 * A pattern that takes too long finds nothing, so that its rule does not hold; but what a rule denies is denied then: what it
 * was to keep out must not come in by being slow to look at. `failed` hears of each, with whether it was the last try.
 * The watchdog knows the time of the day only; a try that has had little of the processor (`cpuMs`) says nothing of its pattern.
 */
export function boundedPatternTest(
  failed: (rule: string, givenUp: boolean) => void,
  cpuMs: () => number = processCpuMs,
): PatternTest {
  const failures = new Map<string, number>();
  const script = new Script('pattern.test(shape)');
  const scope: { pattern: RegExp | null; shape: string } = { pattern: null, shape: '' };
  // The watchdog of a context ends even the matching of a regular expression.
  const context = createContext(scope);
  return (rule: RuleConfig, pattern: RegExp, shape: string): boolean => {
    const before = failures.get(rule.name) ?? 0;
    const ifUnknown = rule.action.deny !== null;
    if (before >= MAX_FAILURES) return ifUnknown;
    scope.pattern = pattern;
    scope.shape = shape;
    for (let spent = 0, tries = 0; spent < MAX_SPENT && tries < MAX_TRIES; tries++) {
      const began = cpuMs();
      try {
        return script.runInContext(context, { timeout: MAX_MS }) as boolean;
      } catch {
        if (cpuMs() - began >= MAX_MS / 2) spent++;
      }
    }
    failures.set(rule.name, before + 1);
    failed(rule.name, before + 1 >= MAX_FAILURES);
    return ifUnknown;
  };
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
