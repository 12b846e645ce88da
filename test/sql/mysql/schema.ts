// The database that the golden tables speak of, as statements for a real server; the same as catalog.json where both
// know it.

const tables = [
  'CREATE DATABASE shop',
  `CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b INT, c VARCHAR(20), j JSON)`,
  'CREATE TABLE shop.u (id INT AUTO_INCREMENT PRIMARY KEY, t_id INT, name VARCHAR(50), FULLTEXT KEY (name))',
  'CREATE TABLE shop.t2 (`for` INT, `update` INT)',
  'CREATE TABLE shop.t3 (next INT)',
  'CREATE TABLE shop.v_words (`update` INT, `insert` INT)',
  'CREATE TABLE shop.x (`for` INT)',
  "INSERT INTO shop.t (a, b, c, j) VALUES (1, 2, 'x', '{}'), (2, 3, 'y', '{}')",
  "INSERT INTO shop.u (t_id, name) VALUES (1, 'one'), (2, 'two')",
  'CREATE FUNCTION shop.reader (x INT) RETURNS INT READS SQL DATA BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM t WHERE id > x; RETURN n; END',
  'CREATE FUNCTION shop.plain (x INT) RETURNS INT DETERMINISTIC BEGIN SET x = x + 1; RETURN x; END',
  'CREATE FUNCTION shop.reader_of_readers (x INT) RETURNS INT READS SQL DATA RETURN shop.reader(x) + shop.plain(x)',
  'CREATE FUNCTION shop.both_ways (x INT) RETURNS INT READS SQL DATA RETURN x',
  'CREATE FUNCTION shop.writes (x INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t (a) VALUES (x); RETURN 1; END',
  'CREATE VIEW shop.v_plain AS SELECT a FROM shop.t',
  'CREATE VIEW shop.v_reads AS SELECT shop.reader(a) AS r FROM shop.t',
  'CREATE VIEW shop.v_writes AS SELECT shop.writes(a) AS w FROM shop.t',
];

export function schemaOf(flavour: 'mysql' | 'mariadb', user: string): string[] {
  return [
    ...tables,
    ...(flavour === 'mariadb' ? ['CREATE SEQUENCE shop.s'] : []),
    `GRANT ALL ON shop.* TO '${user}'@'%'`,
  ];
}
