// What a batch binds and does not ask the rows of, though a schema change may have made them others.
// It knows no connection; `verified-rows.ts` asks the server.

import type { PreparedText } from './prepared-statements.js';
import { type BindFields, resultFormatCount } from './wire/frontend.js';

export interface UnsureRows {
  readonly text: PreparedText;
  /** Null: something else has been bound to it since. */
  readonly portal: string | null;
  /** It has a format for each column: to other columns the server would not bind it (08P01), described or not. */
  readonly isByColumn: boolean;
}

/** Null: nothing is unsure, as in nearly every batch. */
export type Unsure = readonly UnsureRows[] | null;

/** `bind`: the message. */
export function withBound(
  unsure: Unsure,
  text: PreparedText | undefined,
  fields: BindFields,
  bind: Buffer,
): Unsure {
  const { portal } = fields;
  const before = unsure?.map((one) => (one.portal === portal ? { ...one, portal: null } : one)) ?? null;
  if (text?.isUnsure !== true) return before;
  return [...(before ?? []), { text, portal, isByColumn: resultFormatCount(bind, fields) > 1 }];
}

/** `text`: of a statement; null: `portal` was described. */
export function withoutDescribed(unsure: Unsure, text: PreparedText | null, portal: string): Unsure {
  if (unsure === null) return null;
  const left = unsure.filter(
    (one) => one.isByColumn || (text === null ? one.portal !== portal : one.text !== text),
  );
  return left.length === 0 ? null : left;
}
