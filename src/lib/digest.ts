// Tells whether two readings of the same thing differ without keeping either; it knows nothing of what is read.

import { createHash } from 'node:crypto';

/** Of what JSON can say; readings in another order are others. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64');
}
