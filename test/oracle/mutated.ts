// Puts pieces of statements together without a thought for any grammar, as a program with a fault in it would.

import type { Random } from '../storm/random.js';

/** Pieces of statements put together without a thought for the grammar. */
export function mutated(random: Random, statements: readonly string[]): string {
  const first = random.pick(statements);
  const second = random.pick(statements);
  switch (random.int(0, 6)) {
    case 0:
      return first.slice(0, random.int(0, first.length)) + second.slice(random.int(0, second.length));
    case 1:
      return `${first}; ${second}`;
    case 2: {
      const words = first.split(' ');
      words.splice(random.int(0, words.length - 1), 1, random.pick(second.split(' ')));
      return words.join(' ');
    }
    case 3:
      return `WITH q AS (${first}) ${second}`;
    case 4:
      return `${random.pick(['EXPLAIN', 'EXPLAIN ANALYZE', 'COPY', 'DECLARE c CURSOR FOR'])} (${first}) TO STDOUT`;
    case 5:
      return `SELECT a, (${first}) FROM t WHERE id < 3`;
    default:
      return `SELECT * FROM (${first}) q, LATERAL (${second}) r`;
  }
}
