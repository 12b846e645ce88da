// The scope of a session's consistency, and the Redis through which proxies share it, as a schema.
// It knows no server; what depends on several fields is in checks.ts.

import { z } from 'zod';
import { secretSchema } from './schema-secret.js';

export const SCOPE_TEXT =
  'Whose writes a read must see: connection: those of its client connection; user, database: of all connections of that user, or to that database; {"startupParameter": "name"} (PostgreSQL), {"connectionAttribute": "name"} (MySQL, MariaDB): of all that gave it the same value at their login; comment: of all units with the same session=name in their leading comment, which counts under every scope. Default: connection.';

const parameterName = () => z.string().min(1).max(255);

export const scopeSchema = () =>
  z.union(
    [
      z.enum(['connection', 'user', 'database', 'comment']),
      z.strictObject({
        startupParameter: parameterName().describe('Name of a parameter of the startup packet (PostgreSQL).'),
      }),
      z.strictObject({
        connectionAttribute: parameterName().describe('Name of a connection attribute (MySQL, MariaDB).'),
      }),
    ],
    {
      error:
        'expected "connection", "user", "database", "comment", {"startupParameter": "name"} or {"connectionAttribute": "name"}',
    },
  );

const file = (what: string) => z.string().min(1).optional().describe(what);

export const redisSchema = z.strictObject({
  mode: z
    .enum(['single', 'sentinel', 'cluster'])
    .default('single')
    .describe('What stands behind the nodes: one Redis, Sentinels, or a Redis Cluster. Default: single.'),
  nodes: z
    .array(
      z.strictObject({
        host: z
          .string()
          .min(1)
          .max(255)
          .default('127.0.0.1')
          .describe('Host name or address. Default: 127.0.0.1.'),
        port: z.int().min(1).max(65_535).default(6379).describe('TCP port. Default: 6379.'),
      }),
    )
    .min(1)
    .max(64)
    .describe('One Redis; or some of the Sentinels; or some of the nodes of the Cluster.'),
  sentinel: z
    .strictObject({
      name: z.string().min(1).describe('Name of the master, as the Sentinels know it.'),
      username: z.string().min(1).optional().describe('User at the Sentinels. Default: none.'),
      password: secretSchema.optional().describe('Password at the Sentinels. Default: none.'),
      tls: z
        .boolean()
        .default(true)
        .describe('Whether the Sentinels speak TLS too, where there is tls. Default: true.'),
    })
    .optional()
    .describe('For the mode sentinel. Default: none.'),
  database: z
    .int()
    .min(0)
    .max(1023)
    .default(0)
    .describe('Number of the database; 0 in a Cluster. Default: 0.'),
  username: z.string().min(1).optional().describe('User at Redis. Default: none.'),
  password: secretSchema.optional().describe('Password at Redis. Default: none.'),
  tls: z
    .strictObject({
      ca: file(
        'Certificates of the authority, relative to the configuration file. Default: those of the system.',
      ),
      cert: file('Certificate of the proxy, relative to the configuration file. Default: none.'),
      key: file('Its key, relative to the configuration file. Default: none.'),
      serverName: z
        .string()
        .min(1)
        .optional()
        .describe('Name in the certificate of Redis. Default: its host.'),
    })
    .optional()
    .describe('TLS to Redis. Default: none.'),
  prefix: z
    .string()
    .min(1)
    .max(63)
    .default('scheelite')
    .describe('Where the keys begin; the same for all proxies of a cluster. Default: scheelite.'),
  member: z
    .string()
    .min(1)
    .max(127)
    .optional()
    .describe(
      'Name of this proxy among those that share the Redis; it must have the same one when it is started again, and no other one may have it. Default: the host name and the ports of the listeners.',
    ),
  leaseMs: z
    .int()
    .min(200)
    .max(60_000)
    .default(2_000)
    .describe(
      'No reply is kept back for longer when Redis cannot be written to; for so long, too, others may take a proxy that has died for one that is there, in milliseconds. Default: 2000.',
    ),
  timeoutMs: z
    .int()
    .min(5)
    .max(10_000)
    .default(100)
    .describe(
      'A read of a key goes to the primary when Redis has not answered by then; at most an eighth of leaseMs counts, in milliseconds. Default: 100.',
    ),
});

type ParsedRedis = z.output<typeof redisSchema>;

/** Secrets read, paths absolute. */
export interface ResolvedRedis
  extends Readonly<Omit<ParsedRedis, 'tls' | 'sentinel' | 'password' | 'username' | 'member'>> {
  /** Null: by host name and ports. */
  readonly member: string | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly sentinel: {
    readonly name: string;
    readonly username: string | null;
    readonly password: string | null;
    readonly tls: boolean;
  } | null;
  readonly tls: {
    readonly ca: string | null;
    readonly cert: string | null;
    readonly key: string | null;
    readonly serverName: string | null;
  } | null;
}
