// What a storm asks and what it may be answered: a unit with the reply it must get, and the judgement of the reply it got.
// It knows no socket; which errors are documented is each protocol's list.

import { END, HANG } from './wire.js';

/**
 * What a failure may mean: `read` is outside a transaction and never fails before it has begun to answer; `write` may have
 * an unknown outcome; `transaction` may be lost; `pin` may cost the connection.
 */
export type UnitClass = 'read' | 'write' | 'transaction' | 'pin';

export interface Unit {
  /** What it is counted as. */
  readonly kind: string;
  /** For the story. */
  readonly text: string;
  readonly bytes: Buffer;
  readonly class: UnitClass;
  /** The whole reply, line by line; with `verify`, what the reply is compared to for the story only. */
  readonly expect: readonly string[];
  /** Instead of the comparison: null, or what is wrong. */
  readonly verify?: (lines: readonly string[]) => string | null;
  /** Its client has sent a cancel, or will. */
  readonly cancelled?: boolean;
  /** Bytes of the same unit that are sent a little later. */
  readonly later?: Buffer;
  /** MySQL: what kind of reply comes. */
  readonly form?: 'text' | 'binary' | 'prepare';
}

/** What goes on around: changed by the makers of chaos. */
export class Weather {
  /** Nodes may be without a primary now. */
  failingOver = false;
  /** Counts failovers: what was acknowledged before may be lost with asynchronous replication. */
  epoch = 0;
  over = false;
}

export interface ErrorLine {
  readonly code: string;
  readonly message: string;
  /** Something of the reply came before it. */
  readonly begun: boolean;
}

export interface ErrorRules {
  allows(unit: Unit, error: ErrorLine, weather: Weather): boolean;
  /** What may stand behind an error in the reply. */
  isTail(lines: readonly string[]): boolean;
}

/** `failed`: with an error that the chaos explains; `ended`: so did the connection. */
export type Verdict = 'right' | 'failed' | 'ended';

/** What a reply is worth; a string says what is wrong with it. */
export function judge(
  unit: Unit,
  lines: readonly string[],
  rules: ErrorRules,
  weather: Weather,
): { readonly verdict: Verdict; readonly code: string } | string {
  if (lines.at(-1) === HANG) return 'no answer in time';
  const problem = unit.verify === undefined ? difference(lines, unit.expect) : unit.verify(lines);
  if (problem === null) return { verdict: 'right', code: '' };
  const at = lines.findIndex((line) => line.startsWith('E '));
  if (at < 0) {
    if (lines.at(-1) === END && unit.class === 'pin') return { verdict: 'ended', code: 'end' };
    // In the middle of a message that is being forwarded, nothing can be said: the connection ends.
    const isPrefix =
      unit.verify === undefined && lines.slice(0, -1).every((line, i) => line === unit.expect[i]);
    if (lines.at(-1) === END && isPrefix && lines.some((line) => line.startsWith('D ')))
      return { verdict: 'ended', code: 'cut' };
    return problem;
  }
  const [, code, message] = /^E (\S+) (.*)$/s.exec(lines[at]!) ?? [];
  const error = { code: code ?? '', message: message ?? '', begun: at > 0 };
  const before = lines.slice(0, at);
  if (unit.verify === undefined && before.some((line, i) => line !== unit.expect[i]))
    return `before an error: ${problem}`;
  if (!rules.allows(unit, error, weather)) return `an error that it cannot have: ${lines[at]}`;
  const behind = lines.slice(at + 1);
  if (behind.at(-1) === END)
    return unit.class === 'pin' ? { verdict: 'ended', code: error.code } : 'its connection was ended';
  // Fatal (pinned-state-lost): the connection ends behind it, in MySQL without a word of it in this reply.
  if (unit.class === 'pin' && /^session state .* was lost/.test(error.message))
    return { verdict: 'ended', code: error.code };
  if (!rules.isTail(behind)) return `behind an error: ${behind.join(' / ')}`;
  return { verdict: 'failed', code: error.code };
}

function difference(lines: readonly string[], expect: readonly string[]): string | null {
  const count = Math.max(lines.length, expect.length);
  for (let i = 0; i < count; i++) {
    if (lines[i] !== expect[i])
      return `line ${i + 1} is "${lines[i] ?? '(missing)'}" instead of "${expect[i] ?? '(nothing)'}"`;
  }
  return null;
}

/** `first ... last` of what is too long to be told. */
export function shorten(lines: readonly string[], most = 8): string {
  const shown =
    lines.length <= most
      ? lines
      : [...lines.slice(0, most - 3), `... ${lines.length} lines ...`, ...lines.slice(-2)];
  return shown.map((line) => (line.length > 160 ? `${line.slice(0, 160)}...` : line)).join(' / ');
}
