-- The database that the golden tables speak of. Run by a superuser; on PostgreSQL 13 to 18.
CREATE TABLE t (id serial PRIMARY KEY, a int, b text, c text, data jsonb, tags text[], ts timestamptz DEFAULT now());
INSERT INTO t (a, b, c, data, tags) SELECT i, 'b' || i, 'c' || i, '{"k": 1}', ARRAY['x', 'y'] FROM generate_series(1, 20) i;
CREATE TABLE "Mixed Case" ("Id" int, "select" text);
CREATE TABLE accounts (id int PRIMARY KEY, name text, balance numeric(12, 2));
CREATE TABLE orders (id int PRIMARY KEY, account_id int REFERENCES accounts, total numeric, status text, placed date);
CREATE SCHEMA app;
CREATE TABLE app.items (id int, name text);
CREATE MATERIALIZED VIEW mv AS SELECT a, count(*) AS n FROM t GROUP BY a;
CREATE SEQUENCE s;
CREATE TYPE mood AS ENUM ('sad', 'ok');

CREATE FUNCTION reads_only(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t WHERE a = $1';
CREATE FUNCTION adds_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION writes_row(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1) RETURNING id';
CREATE FUNCTION app.hidden_write() RETURNS int LANGUAGE sql AS 'INSERT INTO t (a) VALUES (0) RETURNING id';
CREATE FUNCTION app.reads_items() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM app.items';
CREATE FUNCTION "Weird Name"() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
-- One overload reads, the other writes: the name decides, so both go to the primary.
CREATE FUNCTION mixed(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION mixed(text) RETURNS int LANGUAGE sql AS 'INSERT INTO t (b) VALUES ($1) RETURNING id';
-- In another schema a volatile namesake of a built-in: search_path could find it.
CREATE FUNCTION app.initcap(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1) RETURNING id';
-- A function of a row may be written like a column: t.touch.
CREATE FUNCTION touch(accounts) RETURNS int LANGUAGE sql AS 'UPDATE accounts SET balance = 0 WHERE id = $1.id RETURNING id';
CREATE FUNCTION total_of(accounts) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(total) FROM orders WHERE account_id = $1.id';
CREATE FUNCTION counts_up(n bigint DEFAULT nextval('s')) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT n';
CREATE FUNCTION shifts(n int DEFAULT 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT n + 1';
CREATE PROCEDURE do_things() LANGUAGE sql AS 'INSERT INTO t (a) VALUES (1)';

-- An aggregate is immutable to pg_proc, whatever its transition function does.
CREATE FUNCTION noting_step(int, int) RETURNS int LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($2) RETURNING $1 + $2';
CREATE AGGREGATE noting_sum(int) (SFUNC = noting_step, STYPE = int, INITCOND = '0');
CREATE AGGREGATE honest_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');

CREATE FUNCTION op_write(int, text) RETURNS boolean LANGUAGE sql AS 'INSERT INTO t (a, b) VALUES ($1, $2) RETURNING true';
CREATE OPERATOR ~~> (LEFTARG = int, RIGHTARG = text, FUNCTION = op_write);
CREATE FUNCTION op_read(int, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR <~~ (LEFTARG = int, RIGHTARG = text, FUNCTION = op_read);

CREATE FUNCTION checks(int) RETURNS boolean LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1) RETURNING true';
CREATE DOMAIN noted_int AS int CHECK (checks(VALUE));
CREATE DOMAIN small_int AS int CHECK (VALUE < 1000);

CREATE VIEW v_plain AS SELECT id, a, b FROM t WHERE a > 0;
CREATE VIEW v_stable AS SELECT reads_only(a) AS n, now() AS at FROM t;
CREATE VIEW v_random AS SELECT random() AS r, gen_random_uuid() AS u;
CREATE VIEW v_nextval AS SELECT nextval('s') AS n;
CREATE VIEW v_over_nextval AS SELECT n + 1 AS n FROM v_nextval;
CREATE VIEW v_write AS SELECT writes_row(1) AS id;
CREATE VIEW v_operator AS SELECT id FROM t WHERE a ~~> b;
CREATE VIEW v_locks AS SELECT id FROM t FOR UPDATE;
CREATE VIEW v_advisory AS SELECT pg_advisory_lock(1) IS NULL AS x;
CREATE VIEW v_activity AS SELECT pid, state FROM pg_stat_activity;
CREATE VIEW v_sequence AS SELECT last_value FROM s;
CREATE VIEW v_txid AS SELECT txid_current() AS x;
CREATE VIEW app.v_app AS SELECT name FROM app.items;
-- A namesake in another schema, which writes.
CREATE VIEW app.v_plain AS SELECT app.hidden_write() AS id;

CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE ft (id int, name text) SERVER elsewhere;
CREATE VIEW v_foreign AS SELECT id FROM ft;
CREATE TABLE measured (at date, value int) PARTITION BY RANGE (at);
CREATE TABLE measured_2020 PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE FOREIGN TABLE measured_2019 PARTITION OF measured FOR VALUES FROM ('2019-01-01') TO ('2020-01-01') SERVER elsewhere;

CREATE UNLOGGED TABLE jotted (id serial, name text);
CREATE VIEW v_jotted AS SELECT id FROM jotted;
CREATE TABLE counted (at date, value int) PARTITION BY RANGE (at);
CREATE TABLE counted_2020 PARTITION OF counted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE UNLOGGED TABLE counted_2019 PARTITION OF counted FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE VIEW v_counted AS SELECT value FROM counted;

CREATE TABLE guarded (id int, owner text);
CREATE TABLE guarded_plain (id int, owner text);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded_plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (checks(id));
CREATE POLICY p ON guarded_plain USING (owner = current_user);

-- A promise that the server does not check: what a STABLE function calls may be volatile and write.
CREATE FUNCTION stable_liar(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT writes_row($1)';
CREATE FUNCTION stable_teller(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN "stable_liar" ($1); END';
CREATE FUNCTION stable_locker() RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM pg_advisory_lock(7); RETURN true; END';
CREATE FUNCTION stable_reader(int) RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN reads_only($1) + count(*) FROM t; END';

-- Brought into through other types: a domain over a domain, a row, an array, a range.
CREATE DOMAIN noted_again AS noted_int;
CREATE TYPE noted_row AS (a noted_again, b text);
CREATE TABLE noted_items (id int, n noted_int);
CREATE TABLE small_items (id int, n small_int);
CREATE VIEW v_domain AS SELECT a::text::noted_int AS n FROM t;
CREATE FUNCTION takes_noted(noted_int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1::int';
CREATE FUNCTION takes_small(small_int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1::int';

-- Casts: one that is written, one that nobody writes.
CREATE TYPE token AS (v int);
CREATE FUNCTION to_token(text) RETURNS token LANGUAGE sql AS 'INSERT INTO t (b) VALUES ($1) RETURNING ROW(id)::token';
CREATE CAST (text AS token) WITH FUNCTION to_token(text);
CREATE TYPE ticket AS (v int);
CREATE FUNCTION of_ticket(ticket) RETURNS text LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1.v) RETURNING b';
CREATE CAST (ticket AS text) WITH FUNCTION of_ticket(ticket) AS IMPLICIT;
CREATE TABLE tickets (id int, owner ticket);
CREATE VIEW v_tickets AS SELECT id FROM tickets;

-- What they leave is not in the text of a call.
CREATE FUNCTION makes_temporary() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TEMP TABLE made (a int); END';
CREATE FUNCTION makes_passing() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TEMP TABLE passing (a int) ON COMMIT DROP; END';
CREATE FUNCTION holds_lock() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(8)';
CREATE FUNCTION sets_tenant(text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''app.tenant'', $1, false)';
CREATE FUNCTION sets_local(text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''app.tenant'', $1, true)';
CREATE PROCEDURE prepare_report() LANGUAGE plpgsql AS 'BEGIN CREATE TEMPORARY TABLE report AS SELECT 1; END';

-- Reads what a string says, and is declared STABLE; as the one of contrib/tablefunc.
CREATE FUNCTION crosstab(text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS 'BEGIN RETURN QUERY EXECUTE $1; END';

-- Nothing of these runs when the table is read.
CREATE TABLE defaulted (id int DEFAULT writes_row(1), n int GENERATED ALWAYS AS (id + 1) STORED, CHECK (id > 0));
CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO t (a) VALUES (1); RETURN NEW; END';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON defaulted FOR EACH ROW EXECUTE FUNCTION on_change();
CREATE RULE also AS ON UPDATE TO defaulted DO ALSO INSERT INTO t (a) VALUES (1);
CREATE VIEW v_defaulted AS SELECT id, n FROM defaulted;
CREATE AGGREGATE noting_last(int) (SFUNC = int4pl, STYPE = int, FINALFUNC = writes_row, INITCOND = '0');
CREATE POLICY written ON small_items FOR INSERT WITH CHECK (checks(id));
ALTER TABLE small_items ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON small_items FOR SELECT USING (n > 0);
CREATE VIEW v_guarded AS SELECT id FROM guarded;
CREATE TABLE parent (id int);
CREATE TABLE child (n int) INHERITS (parent);
CREATE FUNCTION plus_noted(int, int DEFAULT writes_row(2)) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 + $2';
CREATE FUNCTION sum_of(VARIADIC int[]) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION rows_of(int) RETURNS SETOF t LANGUAGE sql STABLE AS 'SELECT * FROM t WHERE a > $1';
CREATE FUNCTION adds_rows(int) RETURNS SETOF t LANGUAGE sql AS 'INSERT INTO t (a) VALUES ($1) RETURNING *';

GRANT ALL ON ALL TABLES IN SCHEMA public, app TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
GRANT USAGE ON SCHEMA app TO PUBLIC;
