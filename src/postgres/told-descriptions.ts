// What a server tells of a statement (parameters, rows), kept with its text: a client that was told may rely on it, and not ask again.
// It knows no socket.

import { createHash } from 'node:crypto';
import type { Expectation } from './expectation.js';
import { BACKEND } from './wire/backend.js';

/** Type byte and length. */
const HEADER_BYTES = 5;
/** Of a statement without rows. */
const NO_ROWS = '';

/** Keeps what a client is told of a statement, by ParameterDescription, RowDescription or NoData. */
export function noteDescription(
  { run, step: at }: Expectation,
  type: number,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  const isTypes = type === BACKEND.parameterDescription;
  // The latter two complete their step.
  const step = run?.steps?.[isTypes ? at : at - 1];
  if (step == null || step.text === null) return;
  if (isTypes) {
    if (step.kind === 'describe-statement')
      step.text.types ??= Buffer.from(buffer.subarray(start + HEADER_BYTES, end));
  } else if (step.text.rows === undefined)
    step.text.rows = type === BACKEND.noData ? NO_ROWS : rowsOf(buffer, start + HEADER_BYTES, end);
}

export function isDescription(type: number): boolean {
  return type === BACKEND.parameterDescription || type === BACKEND.rowDescription || type === BACKEND.noData;
}

/** What PostgreSQL compares of a RowDescription (`start`: behind its header): names, types and modifiers. In few bytes. */
export function rowsOf(buffer: Buffer, start: number, end: number): string {
  const hash = createHash('sha1');
  for (let at = start + 2; at < end; ) {
    const nameEnd = buffer.indexOf(0, at);
    if (nameEnd < 0 || nameEnd >= end) break;
    // Between: table and column; behind: the type's length; at the end the format, which each Bind chooses.
    hash.update(buffer.subarray(at, nameEnd + 1)).update(buffer.subarray(nameEnd + 7, nameEnd + 11));
    hash.update(buffer.subarray(nameEnd + 13, nameEnd + 17));
    at = nameEnd + 19;
  }
  return hash.digest('base64');
}
