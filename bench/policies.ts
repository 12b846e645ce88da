// What the scenario about consistency compares: the proxy's levels, and what applications do without one. It runs nothing.

import { CONSISTENCY_LEVELS } from '../src/config/schema.js';

/** A level; or `stick`: level `eventual`, where the client itself reads from the primary for a while after a write. */
export const POLICIES = [...CONSISTENCY_LEVELS, 'stick'] as const;
export type Policy = (typeof POLICIES)[number];
