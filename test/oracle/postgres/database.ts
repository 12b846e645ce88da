// What the oracle's PostgreSQL database holds: the golden tables' schema, and every extension that the server brings and
// that harms nobody. It knows no classification.

import type { TestCluster } from '../../servers/cluster.js';
import { goldenSchema } from '../../sql/postgres/fixture.js';

/** Their functions are called like built-in ones. Left out: what damages tables (pg_surgery) or has no functions. */
const extensions = `amcheck btree_gin btree_gist citext cube dblink fuzzystrmatch hstore intarray isn lo ltree
  pageinspect pg_buffercache pg_freespacemap pg_prewarm pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks
  pgstattuple plpgsql seg sslinfo tablefunc tsm_system_rows tsm_system_time unaccent uuid-ossp xml2`.split(
  /\s+/,
);

/** What only the generator uses. */
const more = `
  CREATE TABLE lone (id int PRIMARY KEY, "order" int, "Weird ""Name" text);
  INSERT INTO lone VALUES (1, 2, 'x'), (2, 3, 'y');
  CREATE FUNCTION pure(n int) RETURNS int LANGUAGE plpgsql STABLE AS $f$ BEGIN RETURN n + 1; END $f$;
  CREATE FUNCTION impure(n int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO t (a) VALUES (n); RETURN n; END $f$;
  CREATE FUNCTION numbers_to(n int) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT generate_series(1, $1)';
  CREATE FUNCTION writes_rows(n int) RETURNS SETOF int LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1) RETURNING a';
  CREATE FUNCTION many(VARIADIC n int[]) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT cardinality($1)';
  CREATE FUNCTION with_default(n int DEFAULT writes_row(1)) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
  GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
  GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC`;

/** Servers on which nothing happens by itself that would move the position. */
export const quiet = { autovacuum: 'off', checkpoint_timeout: '1h', max_prepared_transactions: 10 };

export async function prepareDatabase(cluster: TestCluster): Promise<void> {
  const { primary } = cluster;
  await primary.admin(goldenSchema());
  await primary.admin(more);
  await primary.admin('CREATE SCHEMA ext');
  for (const name of extensions) {
    try {
      await primary.admin(`CREATE EXTENSION IF NOT EXISTS "${name}" SCHEMA ext`);
    } catch {
      // Not all are built for every server.
    }
  }
  await primary.admin('GRANT USAGE ON SCHEMA ext TO PUBLIC');
  // Without ANALYZE, which the foreign tables could not answer. Hint bits are set now and not by the reads that are watched.
  await primary.admin('VACUUM (FREEZE)');
  await primary.admin('CHECKPOINT');
  await cluster.waitCaughtUp();
}
