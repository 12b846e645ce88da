// Transcripts of the PostgreSQL protocol: what goes in on a bare socket and every message that comes out.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { PostgresWire, say } from './postgres-wire.js';
import type { Front, Stage } from './stage.js';

export async function protocolTests(t: TestContext, stage: Stage): Promise<void> {
  const front = await trustingFront(t, stage);
  const open = (t: TestContext) => openWire(t, stage, front);

  await t.test('simple queries: one, several, none, an error in the middle', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(say.query('SELECT 1 AS a')), [
      'RowDescription a',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(await wire.talk(say.query('')), ['EmptyQueryResponse', 'ReadyForQuery I']);
    assert.deepEqual(await wire.talk(say.query(' ; -- nothing')), ['EmptyQueryResponse', 'ReadyForQuery I']);
    assert.deepEqual(
      await wire.talk(
        say.query(
          "INSERT INTO notes VALUES (1001, 'a'); SELECT note FROM notes WHERE id = 1001; SELECT 1 / 0; SELECT 2",
        ),
      ),
      [
        'CommandComplete INSERT 0 1',
        'RowDescription note',
        'DataRow a',
        'CommandComplete SELECT 1',
        'ErrorResponse ERROR 22012 division by zero',
        'ReadyForQuery I',
      ],
    );
    assert.deepEqual(await wire.talk(say.query('SELECT note FROM notes WHERE id = 1001')), [
      'RowDescription note',
      'CommandComplete SELECT 0',
      'ReadyForQuery I',
    ]);
  });

  await t.test('transaction status: in a block, failed, rolled back', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(say.query('BEGIN')), ['CommandComplete BEGIN', 'ReadyForQuery T']);
    assert.deepEqual(await wire.talk(say.query('nonsense')), [
      'ErrorResponse ERROR 42601 syntax error at or near "nonsense"',
      'ReadyForQuery E',
    ]);
    assert.deepEqual(await wire.talk(say.query('SELECT 1')), [
      'ErrorResponse ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block',
      'ReadyForQuery E',
    ]);
    assert.deepEqual(await wire.talk(say.query('COMMIT')), ['CommandComplete ROLLBACK', 'ReadyForQuery I']);
  });

  await t.test(
    'a named statement: two clients, the same name, other texts; Close; Bind of what is gone',
    async (t) => {
      const [one, two] = [await open(t), await open(t)];
      const parsed = ['ParseComplete', 'ReadyForQuery I'];
      assert.deepEqual(await one.talk(say.parse('s', 'SELECT $1::int + 1 AS n'), say.sync()), parsed);
      assert.deepEqual(await two.talk(say.parse('s', 'SELECT $1::text AS t'), say.sync()), parsed);
      const execute = (value: unknown) => [say.bind('s', [value]), say.execute(), say.sync()];
      for (let i = 0; i < 10; i++) {
        assert.deepEqual(await one.talk(...execute(i)), [
          'BindComplete',
          `DataRow ${i + 1}`,
          'CommandComplete SELECT 1',
          'ReadyForQuery I',
        ]);
        assert.deepEqual((await two.talk(...execute(`x${i}`)))[1], `DataRow x${i}`);
      }
      assert.deepEqual(await one.talk(say.describeStatement('s'), say.sync()), [
        'ParameterDescription',
        'RowDescription n',
        'ReadyForQuery I',
      ]);
      assert.deepEqual(await one.talk(say.parse('s', 'SELECT 1'), say.sync()), [
        'ErrorResponse ERROR 42P05 prepared statement "s" already exists',
        'ReadyForQuery I',
      ]);
      assert.deepEqual(await one.talk(say.close('s'), say.sync()), ['CloseComplete', 'ReadyForQuery I']);
      assert.deepEqual(await one.talk(say.close('s'), say.sync()), ['CloseComplete', 'ReadyForQuery I']);
      assert.deepEqual(await one.talk(...execute(1)), [
        'ErrorResponse ERROR 26000 prepared statement "s" does not exist',
        'ReadyForQuery I',
      ]);
      assert.deepEqual((await two.talk(...execute('still')))[1], 'DataRow still');
    },
  );

  await t.test('DEALLOCATE, DEALLOCATE ALL and DISCARD ALL end statements of the protocol', async (t) => {
    const wire = await open(t);
    const gone = (name: string) => `ErrorResponse ERROR 26000 prepared statement "${name}" does not exist`;
    for (const [sql, tag] of [
      ['DEALLOCATE d', 'DEALLOCATE'],
      ['DEALLOCATE ALL', 'DEALLOCATE ALL'],
      ['DISCARD ALL', 'DISCARD ALL'],
    ] as const) {
      await wire.talk(say.parse('d', 'SELECT 7 AS seven'), say.sync());
      assert.ok((await wire.talk(say.bind('d'), say.execute(), say.sync())).includes('DataRow 7'));
      assert.deepEqual(await wire.talk(say.query(sql)), [`CommandComplete ${tag}`, 'ReadyForQuery I']);
      assert.deepEqual(await wire.talk(say.bind('d'), say.execute(), say.sync()), [
        gone('d'),
        'ReadyForQuery I',
      ]);
    }
  });

  await t.test('PREPARE and EXECUTE in SQL', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(say.query('PREPARE p AS SELECT $1::int * 2 AS n')), [
      'CommandComplete PREPARE',
      'ReadyForQuery I',
    ]);
    for (let i = 0; i < 5; i++)
      assert.ok((await wire.talk(say.query(`EXECUTE p(${i})`))).includes(`DataRow ${2 * i}`));
    // One namespace: the protocol finds it too.
    assert.ok((await wire.talk(say.bind('p', [21]), say.execute(), say.sync())).includes('DataRow 42'));
    assert.deepEqual((await wire.talk(say.query('DEALLOCATE p')))[0], 'CommandComplete DEALLOCATE');
  });

  await t.test('the unnamed statement and portal over two batches', async (t) => {
    const [wire, other] = [await open(t), await open(t)];
    await wire.talk(say.parse('', 'SELECT $1::int AS n'), say.sync());
    for (let i = 0; i < 5; i++) {
      // Another client uses the server connections in between.
      await other.talk(say.run('SELECT $1::text', ['other']));
      assert.deepEqual(await wire.talk(say.bind('', [i]), say.execute(), say.sync()), [
        'BindComplete',
        `DataRow ${i}`,
        'CommandComplete SELECT 1',
        'ReadyForQuery I',
      ]);
    }
    await wire.talk(say.query('SELECT 1'));
    assert.deepEqual(await wire.talk(say.bind('', [1]), say.execute(), say.sync()), [
      'ErrorResponse ERROR 26000 unnamed prepared statement does not exist',
      'ReadyForQuery I',
    ]);
  });

  await t.test('batches in one write, an error in the middle one', async (t) => {
    const wire = await open(t);
    wire.send(
      say.run("INSERT INTO notes VALUES (1010, 'first') RETURNING id"),
      say.run("INSERT INTO notes VALUES (1010, 'again')"),
      say.run('SELECT note FROM notes WHERE id = 1010'),
      say.query('SELECT 5 AS five'),
    );
    assert.deepEqual(await wire.ready(), [
      'ParseComplete',
      'BindComplete',
      'RowDescription id',
      'DataRow 1010',
      'CommandComplete INSERT 0 1',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(await wire.ready(), [
      'ParseComplete',
      'BindComplete',
      'NoData',
      'ErrorResponse ERROR 23505 duplicate key value violates unique constraint "notes_pkey"',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(await wire.ready(), [
      'ParseComplete',
      'BindComplete',
      'RowDescription note',
      'DataRow first',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(await wire.ready(), [
      'RowDescription five',
      'DataRow 5',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
  });

  await t.test('an error within a batch skips to its Sync and undoes the batch', async (t) => {
    const wire = await open(t);
    const step = (sql: string) => [say.parse('', sql), say.bind(''), say.execute()];
    assert.deepEqual(
      await wire.talk(
        ...step("INSERT INTO notes VALUES (1020, 'undone')"),
        ...step('SELECT * FROM missing_table'),
        ...step("INSERT INTO notes VALUES (1021, 'never')"),
        say.sync(),
      ),
      [
        'ParseComplete',
        'BindComplete',
        'CommandComplete INSERT 0 1',
        'ErrorResponse ERROR 42P01 relation "missing_table" does not exist',
        'ReadyForQuery I',
      ],
    );
    assert.ok(
      (await wire.talk(say.query('SELECT count(*) FROM notes WHERE id IN (1020, 1021)'))).includes(
        'DataRow 0',
      ),
    );
  });

  await t.test(
    'a named statement whose batch failed is there all the same, or not, as on a server',
    async (t) => {
      const wire = await open(t);
      await wire.talk(say.parse('kept', 'SELECT 1 AS n'), say.bind('missing'), say.sync());
      assert.ok((await wire.talk(say.bind('kept'), say.execute(), say.sync())).includes('DataRow 1'));
      await wire.talk(say.bind('missing'), say.parse('skipped', 'SELECT 1 AS n'), say.sync());
      assert.deepEqual(await wire.talk(say.bind('skipped'), say.execute(), say.sync()), [
        'ErrorResponse ERROR 26000 prepared statement "skipped" does not exist',
        'ReadyForQuery I',
      ]);
    },
  );

  await t.test('Flush without Sync, then more of the batch', async (t) => {
    const wire = await open(t);
    wire.send(say.parse('f', 'SELECT $1::int AS n'), say.describeStatement('f'), say.flush());
    assert.deepEqual(await wire.through('RowDescription'), [
      'ParseComplete',
      'ParameterDescription',
      'RowDescription n',
    ]);
    wire.send(say.bind('f', [3]), say.execute(), say.flush());
    assert.deepEqual(await wire.through('CommandComplete'), [
      'BindComplete',
      'DataRow 3',
      'CommandComplete SELECT 1',
    ]);
    assert.deepEqual(await wire.talk(say.sync()), ['ReadyForQuery I']);
    wire.send(say.bind('missing'), say.flush());
    assert.deepEqual(
      await wire.line(),
      'ErrorResponse ERROR 26000 prepared statement "missing" does not exist',
    );
    assert.deepEqual(await wire.talk(say.bind('f', [4]), say.execute(), say.sync()), ['ReadyForQuery I']);
    assert.ok((await wire.talk(say.bind('f', [5]), say.execute(), say.sync())).includes('DataRow 5'));
  });

  await t.test('Execute with a row limit, in portals of a transaction', async (t) => {
    const wire = await open(t);
    await wire.talk(say.query('BEGIN'));
    assert.deepEqual(
      await wire.talk(
        say.parse('', 'SELECT generate_series(1, 5) AS n'),
        say.bind('', [], 'portal'),
        say.execute(2, 'portal'),
        say.sync(),
      ),
      ['ParseComplete', 'BindComplete', 'DataRow 1', 'DataRow 2', 'PortalSuspended', 'ReadyForQuery T'],
    );
    assert.deepEqual(await wire.talk(say.execute(0, 'portal'), say.sync()), [
      'DataRow 3',
      'DataRow 4',
      'DataRow 5',
      'CommandComplete SELECT 3',
      'ReadyForQuery T',
    ]);
    await wire.talk(say.query('COMMIT'));
  });

  await t.test('COPY by simple query: in, failed by the client, out', async (t) => {
    const wire = await open(t);
    wire.send(say.query('COPY notes FROM STDIN'));
    assert.equal(await wire.line(), 'CopyInResponse');
    assert.deepEqual(
      await wire.talk(say.copyData('1030\tcopied\n1031\tco'), say.copyData('pied\n'), say.copyDone()),
      ['CommandComplete COPY 2', 'ReadyForQuery I'],
    );
    wire.send(say.query('COPY notes FROM STDIN'));
    assert.equal(await wire.line(), 'CopyInResponse');
    assert.deepEqual(await wire.talk(say.copyData('1032\tno\n'), say.copyFail('changed my mind')), [
      'ErrorResponse ERROR 57014 COPY from stdin failed: changed my mind',
      'ReadyForQuery I',
    ]);
    wire.send(say.query('COPY notes FROM STDIN'));
    assert.equal(await wire.line(), 'CopyInResponse');
    // The server refuses the first line; the rest of the COPY is on its way already.
    wire.send(say.copyData('not a number\tx\n'), say.copyData('1033\tx\n'), say.copyDone());
    assert.deepEqual(await wire.ready(), [
      'ErrorResponse ERROR 22P02 invalid input syntax for type integer: "not a number"',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(
      await wire.talk(
        say.query('COPY (SELECT * FROM notes WHERE id BETWEEN 1030 AND 1039 ORDER BY id) TO STDOUT'),
      ),
      [
        'CopyOutResponse',
        'CopyData 1030\tcopied',
        'CopyData 1031\tcopied',
        'CopyDone',
        'CommandComplete COPY 2',
        'ReadyForQuery I',
      ],
    );
  });

  await t.test('COPY by the extended protocol, Sync before and behind the data', async (t) => {
    const wire = await open(t);
    const copy = [say.parse('', 'COPY notes FROM STDIN'), say.bind(''), say.execute()];
    wire.send(...copy, say.sync());
    assert.deepEqual(await wire.through('CopyInResponse'), [
      'ParseComplete',
      'BindComplete',
      'CopyInResponse',
    ]);
    assert.deepEqual(await wire.talk(say.copyData('1040\tearly\n'), say.copyDone(), say.sync()), [
      'CommandComplete COPY 1',
      'ReadyForQuery I',
    ]);
    wire.send(...copy, say.flush());
    assert.deepEqual(await wire.through('CopyInResponse'), [
      'ParseComplete',
      'BindComplete',
      'CopyInResponse',
    ]);
    assert.deepEqual(await wire.talk(say.copyData('1041\tlate\n'), say.copyDone(), say.sync()), [
      'CommandComplete COPY 1',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(
      await wire.talk(
        say.run('COPY (SELECT note FROM notes WHERE id IN (1040, 1041) ORDER BY id) TO STDOUT'),
      ),
      [
        'ParseComplete',
        'BindComplete',
        'NoData',
        'CopyOutResponse',
        'CopyData early',
        'CopyData late',
        'CopyDone',
        'CommandComplete COPY 2',
        'ReadyForQuery I',
      ],
    );
  });

  await t.test('values of 20 MB, as a row, as a parameter, as text', async (t) => {
    const size = 20_000_000;
    const wire = await open(t);
    assert.deepEqual(await wire.talk(say.query(`SELECT repeat('x', ${size}) AS big`)), [
      'RowDescription big',
      `DataRow ${'x'.repeat(20)}... (${size})`,
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    assert.ok(
      (await wire.talk(say.run('SELECT length($1::text) AS n', ['y'.repeat(size)]))).includes(
        `DataRow ${size}`,
      ),
    );
    assert.ok(
      (await wire.talk(say.query(`SELECT length('${'z'.repeat(size)}') AS n`))).includes(`DataRow ${size}`),
    );
    assert.ok((await wire.talk(say.query('SELECT 1 AS small'))).includes('DataRow 1'));
  });

  await t.test('notices and notifications stand where they belong', async (t) => {
    const [wire, other] = [await open(t), await open(t)];
    assert.deepEqual(
      await wire.talk(say.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")),
      ['NoticeResponse NOTICE one', 'NoticeResponse WARNING two', 'CommandComplete DO', 'ReadyForQuery I'],
    );
    await wire.talk(say.query('LISTEN here'));
    await other.talk(say.query("NOTIFY here, 'idle'"));
    assert.equal(await wire.line(), 'NotificationResponse here idle');
    assert.deepEqual(await wire.talk(say.query('UNLISTEN *')), [
      'CommandComplete UNLISTEN',
      'ReadyForQuery I',
    ]);
  });
}

/** Bare sockets do not prove a password; the proxy proves it to the nodes. */
export function trustingFront(
  t: TestContext,
  stage: Stage,
  changes: Parameters<Stage['front']>[1] = {},
): Promise<Front> {
  const { user, password } = stage.cluster.user;
  return stage.front(
    t,
    { users: [{ name: user, password }], ...changes },
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' }] },
  );
}

export function openWire(
  t: TestContext,
  stage: Stage,
  front: Front,
  startup: Readonly<Record<string, string>> = {},
): Promise<PostgresWire> {
  const { user, database } = stage.cluster.user;
  return PostgresWire.open(t, front.proxy, { user, database, ...startup });
}
