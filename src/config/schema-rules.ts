// The routing rules of a cluster as a schema: what a rule may match, and what it may do.
// It knows no node and no server; what a rule must not say together, and the shapes that operators paste, are in rules.ts.

import { z } from 'zod';
import { ownAutoPrepareSchema } from './schema-prepare.js';

const MAX_TIMER_MS = 2_147_483_647;
const duration = (min: number) => z.int().min(min).max(MAX_TIMER_MS);

/** One, or several of which any will do; always a list afterwards. */
const oneOrMore = <T extends z.ZodType>(item: T, expected: string) =>
  z.union([item, z.array(item).min(1).max(1000)], { error: `expected ${expected}, or a list of them` });

export const RULE_CLASSES = ['read', 'write', 'ddl', 'transaction', 'session'] as const;
export const RULE_LOG_LEVELS = ['debug', 'info', 'warn'] as const;
export const RULE_FALLBACKS = ['primary', 'hold'] as const;

/** A pattern is short, and the shapes that it is tried on are, too. */
const MAX_PATTERN_CHARACTERS = 1_000;
const MAX_SHAPE_CHARACTERS = 65_536;

const text = () => z.string().min(1).max(255);
const texts = () => oneOrMore(text(), 'a string');

const matchSchema = z.strictObject({
  user: texts().optional().describe('Name of the database user; * stands for any characters. Default: any.'),
  database: texts()
    .optional()
    .describe('Database (MySQL: schema) of the login; * stands for any characters. Default: any.'),
  application: texts()
    .optional()
    .describe(
      'application_name (PostgreSQL) or the connection attribute program_name (MySQL, MariaDB) of the login; * stands for any characters. Default: any.',
    ),
  clientAddress: texts()
    .optional()
    .describe('Address of the client, or a network as in 10.0.0.0/8 and fd00::/8. Default: any.'),
  shape: oneOrMore(z.string().min(1).max(MAX_SHAPE_CHARACTERS), 'a statement')
    .optional()
    .describe(
      'A statement; its literals, white space, comments and case do not matter, so that one may be pasted as it is. Default: any.',
    ),
  shapePattern: z
    .string()
    .min(1)
    .max(MAX_PATTERN_CHARACTERS)
    .optional()
    .describe(
      'Regular expression (as in JavaScript, without regard to case) on the shape of the statement, of which 2 kB are looked at. Default: any.',
    ),
  class: oneOrMore(z.enum(RULE_CLASSES), `one of ${RULE_CLASSES.map((name) => `"${name}"`).join(', ')}`)
    .optional()
    .describe(
      'read: may run on a replica; write: has to run on the primary; ddl: changes the schema (also a write); transaction: BEGIN, COMMIT and their like; session: SET and what else touches no data. Default: any.',
    ),
});

const routeSchema = z.union(
  [
    z.literal('primary'),
    z.literal('replica'),
    z.strictObject({ node: text() }),
    z.strictObject({ tag: z.record(z.string().min(1).max(63), z.string().max(255)) }),
  ],
  { error: 'expected "primary", "replica", {"node": "name"} or {"tag": {"name": "value"}}' },
);

/** `levels`: those that the cluster's own setting knows. */
export const ruleSchema = <const Levels extends readonly [string, ...string[]]>(levels: Levels) =>
  z.strictObject({
    name: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .describe('Name in log, status, metrics and errors. Default: rule-1 for the first, and so on.'),
    match: matchSchema.prefault({}).describe('What all has to be so. Default: everything matches.'),
    action: z
      .strictObject({
        route: routeSchema
          .optional()
          .describe(
            'Where a read goes, of the nodes that are fresh enough: "primary", "replica", {"node": "name"} or {"tag": {"name": "value"}}. Writes go to the primary whatever it says. Default: as without the rule.',
          ),
        fallback: z
          .enum(RULE_FALLBACKS)
          .optional()
          .describe(
            'When no node of the route may take a read. primary: it goes there; hold: it waits for one, as long as units are held. Default: primary.',
          ),
        consistency: z.enum(levels).optional().describe('Consistency level. Default: as without the rule.'),
        maxLagMs: duration(0)
          .optional()
          .describe(
            'A replica that lags more takes no reads, in milliseconds. Default: as without the rule.',
          ),
        waitMs: duration(0)
          .optional()
          .describe(
            'How long a read waits for a replica to be fresh enough, in milliseconds. Default: as without the rule.',
          ),
        timeoutMs: duration(1)
          .optional()
          .describe(
            'A unit that is not answered by then, waiting included, is cancelled, in milliseconds. Default: none.',
          ),
        session: z
          .string()
          .min(1)
          .max(255)
          .optional()
          .describe(
            'Whose writes the statement must see, in place of its connection or scope: all statements that are given the same name here or in a comment (session=name) are one session. Default: as without the rule.',
          ),
        deny: z
          .string()
          .min(1)
          .max(500)
          .optional()
          .describe('The statement is refused with this message. Default: none.'),
        log: z
          .union([z.boolean(), z.enum(RULE_LOG_LEVELS)], {
            error: 'expected true, false, "debug", "info" or "warn"',
          })
          .optional()
          .describe(
            'A line in the log for each statement, at most 50 a second, without its literals; true is "info". Default: none.',
          ),
        sharing: z
          .boolean()
          .optional()
          .describe('Whether short reads share server connections. Default: as without the rule.'),
        autoPrepare: z
          .union([z.boolean(), ownAutoPrepareSchema], {
            error: 'expected true, false or an object with enabled, threshold or maxStatements',
          })
          .optional()
          .describe(
            'Whether recurring unnamed statements are prepared, and when (PostgreSQL). Default: as without the rule.',
          ),
      })
      .describe('What happens to the statements that match.'),
    continue: z
      .boolean()
      .default(false)
      .describe(
        'Whether rules below may still say what this one does not; otherwise the first rule that matches is the last. Default: false.',
      ),
  });
