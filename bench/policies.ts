// What the scenario about consistency compares: the proxy's levels, and what applications do without one. It runs nothing.

import { CONSISTENCY_LEVELS, consistencySchema } from '../src/config/schema.js';

/**
 * A level; `wait`: level `session`, where a read waits a little for its replica before it goes to the primary (as far as the
 * proxy can); `stick`: level `eventual`, where the client itself reads from the primary for a while after a write.
 */
export type Policy = (typeof CONSISTENCY_LEVELS)[number] | 'wait' | 'stick';

const canWait = 'waitMs' in consistencySchema.shape;

export const POLICIES: readonly Policy[] = [
  ...CONSISTENCY_LEVELS,
  ...(canWait ? (['wait'] as const) : []),
  'stick',
];
