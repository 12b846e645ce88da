// Tells whether two readings of the same thing differ without keeping either; it knows nothing of what is read.

import { hash } from 'node:crypto';

/** Of what JSON can say; readings in another order are others. */
export function digestOf(value: unknown): string {
  return hash('sha256', JSON.stringify(value), 'base64');
}
