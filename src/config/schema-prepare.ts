// Preparing of statements that recur as a schema: what a cluster says of it, and what others say in place of that.
// It knows no statement and no server.

import { z } from 'zod';

const threshold = () => z.int().min(1).max(1_000_000);
const maxStatements = () => z.int().min(1).max(10_000);

export const autoPrepareSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe(
      'Whether unnamed statements whose text recurs run as prepared statements (PostgreSQL). Default: true.',
    ),
  simpleQueries: z
    .boolean()
    .default(true)
    .describe(
      'Whether simple queries that recur but for the integers that columns are compared with run as prepared statements too, outside transactions. Default: true.',
    ),
  threshold: threshold()
    .default(5)
    .describe('How often a text must have come before it is prepared. Default: 5.'),
  maxStatements: maxStatements()
    .default(200)
    .describe(
      'Statements prepared in this way on one server connection. One more is prepared only in place of one that has not been used for a second. Default: 200.',
    ),
});

/** Of a listener, a user or a rule: what is not said is as without it. */
export const ownAutoPrepareSchema = z.strictObject({
  enabled: z
    .boolean()
    .optional()
    .describe('Whether recurring unnamed statements are prepared. Default: as there.'),
  threshold: threshold()
    .optional()
    .describe('How often a text must have come before it is prepared. Default: as there.'),
  maxStatements: maxStatements()
    .optional()
    .describe(
      'Statements prepared in this way on one server connection; those of who may have more there do not count. Default: as there.',
    ),
});

type Own = z.output<typeof ownAutoPrepareSchema>;
export type OwnAutoPrepare = { readonly [K in keyof Own]: Own[K] };
