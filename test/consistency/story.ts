// Tells a violation to a person: which operation, which earlier ones it contradicts, with their times, sessions, nodes and values.
// It decides nothing.

import type { Violation } from './checker.js';
import { type Facts, OUTCOME, STEP } from './facts.js';

export function storyOf(violation: Violation, facts: Facts): string[] {
  const { kind, op, step, what, because } = violation;
  return [
    `${kind}: operation ${op} read ${what}`,
    ...because.filter((each) => each !== op).map((each) => `  earlier: ${operationText(each, facts)}`),
    `  then:    ${operationText(op, facts, step)}`,
  ];
}

/** `12 at 1203.114-1204.020 alice on node2: r5 = 3:a7; l2 + b9`; the step that is wrong has an exclamation mark. */
function operationText(op: number, facts: Facts, wrong = -1): string {
  const steps: string[] = [];
  for (let step = facts.firstStep[op]!; step < facts.firstStep[op + 1]!; step++)
    steps.push(`${stepText(step, facts)}${step === wrong ? ' !' : ''}`);
  const node = facts.node[op]!;
  const outcome = facts.outcome[op];
  return [
    `${op} at ${facts.start[op]!.toFixed(3)}-${facts.end[op]!.toFixed(3)} ms`,
    facts.sessions.list[facts.session[op]!],
    ...(node < 0 ? [] : [`on ${facts.nodes.list[node]}`]),
    ...(outcome === OUTCOME.ok ? [] : [outcome === OUTCOME.failed ? '(failed)' : '(unknown)']),
    `: ${steps.join('; ')}`,
  ].join(' ');
}

function stepText(step: number, facts: Facts): string {
  const key = facts.keys.list[facts.stepKey[step]!];
  const value = facts.stepValue[step]!;
  const depth = facts.stepDepth[step]!;
  const name = value < 0 ? '-' : facts.values.list[value]!;
  if (facts.stepKind[step] !== STEP.write) return `${key} = ${name} at depth ${depth}`;
  const made = facts.depth[value]!;
  return `write ${name} to ${key}${made > 0 ? ` at depth ${made}` : ''}`;
}
