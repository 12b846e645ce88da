// The names of the consistency levels, as clients write them.
// It knows neither configuration nor decision beyond their list.

import type { ConsistencyLevel } from '../config/schema.js';

export type { ConsistencyLevel };

const NAMES: Readonly<Record<ConsistencyLevel, true>> = {
  eventual: true,
  bounded: true,
  session: true,
  strong: true,
  primary: true,
};

export const CONSISTENCY_LEVELS = Object.keys(NAMES) as readonly ConsistencyLevel[];

/** Null: no level is called that. */
export function levelOf(text: string): ConsistencyLevel | null {
  const name = text.trim().toLowerCase();
  return Object.hasOwn(NAMES, name) ? (name as ConsistencyLevel) : null;
}
