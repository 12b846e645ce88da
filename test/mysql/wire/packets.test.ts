// Every packet of the codec built and parsed again, known bytes from the protocol's documentation, and every truncation of them.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERRORS, type ErrorCode, ProxyError } from '../../../src/lib/errors.js';
import { buildAuthSwitchRequest, parseAuthSwitchRequest } from '../../../src/mysql/wire/auth-packets.js';
import { PacketReader, PacketWriter } from '../../../src/mysql/wire/bytes.js';
import {
  CAPABILITY,
  type Capabilities,
  commonCapabilities,
  keyedCapabilities,
  MARIADB_CAPABILITY,
  offeredCapabilities,
  requestedCapabilities,
} from '../../../src/mysql/wire/capabilities.js';
import {
  buildChangeUser,
  buildQuery,
  COM,
  commandName,
  parseChangeUser,
  parseLongData,
  queryTextOffset,
} from '../../../src/mysql/wire/command.js';
import {
  buildBulkExecute,
  buildExecute,
  parseBulkExecute,
  parseExecute,
} from '../../../src/mysql/wire/execute.js';
import { payloadOf } from '../../../src/mysql/wire/framer.js';
import {
  buildGreeting,
  greetingVersion,
  isMariadb,
  parseGreeting,
  versionNumber,
} from '../../../src/mysql/wire/greeting.js';
import {
  buildHandshakeResponse,
  parseHandshakeResponse,
} from '../../../src/mysql/wire/handshake-response.js';
import {
  buildEof,
  buildErr,
  buildOk,
  buildProxyError,
  endsResultSet,
  okStatus,
  parseEof,
  parseErr,
  parseOk,
  STATUS,
} from '../../../src/mysql/wire/ok.js';
import { buildPrepareOk, parsePrepareOk, parseResultSetHead } from '../../../src/mysql/wire/result-set.js';
import {
  buildSessionChanges,
  parseSessionChanges,
  type SessionChange,
} from '../../../src/mysql/wire/session-track.js';

const TRACKING: Capabilities = { flags: CAPABILITY.PROTOCOL_41 | CAPABILITY.SESSION_TRACK, mariadb: 0 };
const PLAIN: Capabilities = { flags: CAPABILITY.PROTOCOL_41, mariadb: 0 };
const ATTRIBUTES: Capabilities = { flags: CAPABILITY.PROTOCOL_41 | CAPABILITY.QUERY_ATTRIBUTES, mariadb: 0 };

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ''), 'hex');

/** Whatever is cut off: either it still parses or a ProxyError says so. */
function everyTruncation(payload: Buffer, parse: (payload: Buffer) => unknown): void {
  for (let i = 0; i < payload.length; i++) {
    try {
      parse(payload.subarray(0, i));
    } catch (error) {
      assert.ok(error instanceof ProxyError, `cut at ${i}: ${String(error)}`);
    }
  }
}

describe('basic types', () => {
  it('writes and reads length-encoded integers at their borders', () => {
    for (const value of [0, 250, 251, 252, 0xffff, 0x10000, 0xffffff, 0x1000000, 2 ** 40, 2 ** 53 - 1]) {
      const payload = new PacketWriter().lenenc(value).payload();
      assert.equal(new PacketReader(payload).lenenc(), value);
      const skipping = new PacketReader(payload);
      skipping.skipLenenc();
      assert.equal(skipping.left, 0);
      everyTruncation(payload, (cut) => new PacketReader(cut).lenenc());
    }
  });

  it('refuses lengths that nobody can mean', () => {
    assert.throws(() => new PacketReader(hex('feffffffffffffffff')).lenencBytes(), ProxyError);
    assert.throws(() => new PacketReader(hex('fb')).lenenc(), ProxyError);
    assert.throws(() => new PacketReader(hex('ff')).lenenc(), ProxyError);
    assert.throws(() => new PacketReader(hex('fd000010')).lenencBytes(), ProxyError);
    assert.throws(() => new PacketReader(Buffer.from('no end')).nulBytes(), ProxyError);
  });
});

describe('greeting', () => {
  // The example of MySQL's documentation, server 5.5.2-m2 with the plugin's name.
  const documented = hex(`
    0a 35 2e 35 2e 32 2d 6d 32 00 52 00 00 00 22 3d 4e 50 29 75 39 56 00 ff ff 08 02 00 0f c0 15 00
    00 00 00 00 00 00 00 00 00 29 64 40 52 5c 55 78 7a 7c 21 29 4b 00 6d 79 73 71 6c 5f 6e 61 74 69
    76 65 5f 70 61 73 73 77 6f 72 64 00`);

  it('reads the documented example', () => {
    const greeting = parseGreeting(documented);
    assert.equal(greeting.serverVersion, '5.5.2-m2');
    assert.equal(greeting.connectionId, 0x52);
    assert.equal(greeting.scramble.toString('latin1'), '"=NP)u9V)d@R\\Uxz|!)K');
    assert.equal(greeting.capabilities.flags, 0xc00fffff);
    assert.equal(greeting.plugin, 'mysql_native_password');
    everyTruncation(documented, parseGreeting);
  });

  it('comes back as it was built, MariaDB extensions included', () => {
    const greeting = {
      serverVersion: '5.5.5-10.11.16-MariaDB-0+deb12u1',
      connectionId: 4_000_000_000,
      scramble: Buffer.from('abcdefghijklmnopqrst'),
      capabilities: { flags: (0x81fff7fe & ~CAPABILITY.SSL) >>> 0, mariadb: 0x1d },
      collation: 45,
      status: 2,
      plugin: 'mysql_native_password',
    };
    const frame = buildGreeting(greeting);
    assert.equal(frame.readUIntLE(0, 3), frame.length - 4);
    assert.deepEqual(parseGreeting(payloadOf(frame)), greeting);
    everyTruncation(payloadOf(frame), parseGreeting);
  });

  it('knows the versions that drivers look at', () => {
    assert.equal(greetingVersion('10.11.16-MariaDB-log'), '5.5.5-10.11.16-MariaDB-log');
    assert.equal(greetingVersion('11.4.2-MariaDB'), '11.4.2-MariaDB');
    assert.equal(greetingVersion('9.7.1'), '9.7.1');
    assert.equal(versionNumber('5.5.5-10.11.16-MariaDB'), 101116);
    assert.equal(versionNumber('8.0.36-28'), 80036);
    assert.equal(versionNumber('nonsense'), 0);
    assert.ok(isMariadb('11.4.2-MariaDB') && !isMariadb('9.7.1-Debian'));
  });
});

describe('handshake response', () => {
  const response = {
    capabilities: {
      flags:
        CAPABILITY.PROTOCOL_41 |
        CAPABILITY.SECURE_CONNECTION |
        CAPABILITY.PLUGIN_AUTH |
        CAPABILITY.PLUGIN_AUTH_LENENC |
        CAPABILITY.CONNECT_ATTRS |
        CAPABILITY.CONNECT_WITH_DB |
        CAPABILITY.LONG_PASSWORD,
      mariadb: 0,
    },
    maxPacketBytes: 0x1000000,
    collation: 255,
    user: 'alic\u00e9',
    authResponse: Buffer.alloc(20, 7),
    database: 'shop',
    plugin: 'caching_sha2_password',
    attributes: new Map([
      ['_client_name', 'libmysql'],
      ['program_name', 'x'.repeat(300)],
    ]),
  };

  it('comes back as it was built, and lives through every truncation', () => {
    const payload = payloadOf(buildHandshakeResponse(response, 1));
    assert.deepEqual(parseHandshakeResponse(payload), response);
    everyTruncation(payload, parseHandshakeResponse);
  });

  it('reads the length byte of clients without PLUGIN_AUTH_LENENC, and MariaDB extensions', () => {
    const flags =
      response.capabilities.flags &
      ~(CAPABILITY.PLUGIN_AUTH_LENENC | CAPABILITY.LONG_PASSWORD | CAPABILITY.CONNECT_ATTRS);
    const other = {
      ...response,
      capabilities: { flags, mariadb: MARIADB_CAPABILITY.STMT_BULK_OPERATIONS },
      attributes: new Map<string, string>(),
    };
    assert.deepEqual(parseHandshakeResponse(payloadOf(buildHandshakeResponse(other, 1))), other);
  });

  it('refuses TLS, protocol 320 and an answer that ends too early', () => {
    const codeOf = (payload: Buffer): string => {
      try {
        parseHandshakeResponse(payload);
      } catch (error) {
        if (error instanceof ProxyError) return error.code;
        throw error;
      }
      return 'none';
    };
    const ssl = Buffer.alloc(32);
    ssl.writeUInt32LE(CAPABILITY.PROTOCOL_41 | CAPABILITY.SSL, 0);
    assert.equal(codeOf(ssl), 'tls-not-supported');
    assert.equal(codeOf(hex('8524000000 6f6c6400 4a4a')), 'unsupported-protocol-version');
    const short = Buffer.alloc(32);
    short.writeUInt32LE(CAPABILITY.PROTOCOL_41, 0);
    assert.equal(codeOf(short), 'protocol-violation');
  });
});

describe('capabilities', () => {
  const mysql: Capabilities = { flags: 0xdfffffff, mariadb: 0 };
  const mariadb: Capabilities = { flags: 0x81fff7fe, mariadb: 0x3f };

  it('never offers TLS, compression, several factors, progress or cached metadata', () => {
    const offered = offeredCapabilities(mysql).flags;
    for (const flag of [
      CAPABILITY.SSL,
      CAPABILITY.COMPRESS,
      CAPABILITY.ZSTD_COMPRESSION,
      CAPABILITY.MULTI_FACTOR,
    ])
      assert.equal(offered & flag, 0);
    assert.equal(
      offeredCapabilities(mariadb).mariadb &
        (MARIADB_CAPABILITY.PROGRESS | MARIADB_CAPABILITY.CACHE_METADATA),
      0,
    );
    assert.equal(offeredCapabilities(mariadb).flags & CAPABILITY.LONG_PASSWORD, 0);
    assert.notEqual(offered & CAPABILITY.LONG_PASSWORD, 0);
  });

  it('asks the node for session tracking whatever the client said, and for what the client keyed', () => {
    const client = { flags: CAPABILITY.PROTOCOL_41 | CAPABILITY.DEPRECATE_EOF | CAPABILITY.SSL, mariadb: 0 };
    const keyed = keyedCapabilities(commonCapabilities(offeredCapabilities(mysql), client));
    assert.equal(keyed.flags, CAPABILITY.DEPRECATE_EOF);
    const requested = requestedCapabilities(keyed, mysql).flags;
    assert.notEqual(requested & CAPABILITY.SESSION_TRACK, 0);
    assert.notEqual(requested & CAPABILITY.DEPRECATE_EOF, 0);
    assert.equal(requested & CAPABILITY.SSL, 0);
  });
});

describe('OK, EOF and ERR', () => {
  const changes: SessionChange[] = [
    { kind: 'variable', name: 'autocommit', value: 'OFF' },
    { kind: 'schema', name: 'test' },
    { kind: 'state-change', changed: '1' },
    { kind: 'gtids', encoding: 0, gtids: '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7' },
    { kind: 'transaction-characteristics', sql: 'START TRANSACTION READ ONLY;' },
    { kind: 'transaction-state', state: 'T_______' },
    { kind: 'unknown', type: 42, data: Buffer.from('later') },
  ];

  it('reads session state as servers send it', () => {
    const variable = hex('00 0f 0a 61 75 74 6f 63 6f 6d 6d 69 74 03 4f 46 46');
    assert.deepEqual(parseSessionChanges(variable), [changes[0]]);
    const schema = hex('01 05 04 74 65 73 74');
    assert.deepEqual(parseSessionChanges(schema), [changes[1]]);
    const state = hex('02 01 31');
    assert.deepEqual(parseSessionChanges(state), [changes[2]]);
  });

  it('brings session changes back as they were built', () => {
    const blocks = buildSessionChanges(changes);
    assert.deepEqual(parseSessionChanges(blocks), changes);
    everyTruncation(blocks, parseSessionChanges);
  });

  it('rebuilds an OK for a client without session tracking and keeps the counts of 64 bits', () => {
    const ok = {
      header: 0,
      counts: hex('feffffffffffffffff fc2c01'),
      status: STATUS.AUTOCOMMIT | STATUS.SESSION_STATE_CHANGED,
      warnings: 3,
      info: Buffer.from('Rows matched: 1'),
      changes: buildSessionChanges(changes),
    };
    const tracked = payloadOf(buildOk(ok, TRACKING, 1));
    assert.deepEqual(parseOk(tracked, TRACKING), ok);
    assert.equal(okStatus(tracked), ok.status);
    everyTruncation(tracked, (cut) => parseOk(cut, TRACKING));
    const plain = payloadOf(buildOk(parseOk(tracked, TRACKING), PLAIN, 1));
    assert.deepEqual(parseOk(plain, PLAIN), { ...ok, status: STATUS.AUTOCOMMIT, changes: null });
    assert.equal(plain.subarray(-15).toString(), 'Rows matched: 1');
  });

  it('writes the documented OK of seven bytes', () => {
    const ok = { header: 0, counts: hex('0000'), status: 2, warnings: 0, info: hex(''), changes: null };
    assert.deepEqual(buildOk(ok, TRACKING, 2), hex('07000002 00000002000000'));
    assert.deepEqual(buildOk(ok, PLAIN, 2), hex('07000002 00000002000000'));
  });

  it('reads and writes EOF, and tells it from a row', () => {
    const frame = buildEof({ warnings: 1, status: STATUS.MORE_RESULTS }, 5);
    assert.deepEqual(frame, hex('05000005 fe 0100 0800'));
    assert.deepEqual(parseEof(payloadOf(frame)), { warnings: 1, status: STATUS.MORE_RESULTS });
    assert.ok(endsResultSet(0xfe, 5, false) && !endsResultSet(0xfe, 9, false));
    assert.ok(endsResultSet(0xfe, 100, true) && !endsResultSet(0xfe, 0xffffff, true));
    assert.ok(!endsResultSet(0, 5, true));
  });

  it('reads the documented ERR, and one from before the handshake', () => {
    const err = parseErr(hex('ff 48 04 23 48 59 30 30 30 4e 6f 20 74 61 62 6c 65 73 20 75 73 65 64'));
    assert.deepEqual(err, { errno: 1096, sqlState: 'HY000', message: 'No tables used' });
    assert.deepEqual(parseErr(Buffer.from('\xff\x10\x04Too many connections', 'latin1')), {
      errno: 1040,
      sqlState: 'HY000',
      message: 'Too many connections',
    });
  });

  it('cuts messages where a character ends', () => {
    const err = parseErr(
      payloadOf(buildErr({ errno: 1, sqlState: 'HY000', message: `x${'\u20ac'.repeat(400)}` }, 1)),
    );
    assert.equal(err.message, `x${'\u20ac'.repeat(170)}`);
  });

  it('has an ERR packet with a SQLSTATE of MySQL for every error of the table', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const error = new ProxyError(code);
      const err = parseErr(payloadOf(buildProxyError(error, 1)));
      assert.equal(err.errno, ERRORS[code].errno);
      assert.match(err.sqlState, /^[0-9A-Z]{5}$/);
      assert.equal(err.message, error.message);
    }
    const denied = parseErr(payloadOf(buildProxyError(new ProxyError('authentication-failed'), 1)));
    assert.equal(denied.sqlState, '28000');
  });
});

describe('commands', () => {
  it('finds the text of a query behind attributes of every kind', () => {
    assert.equal(queryTextOffset(payloadOf(buildQuery('SELECT 1', PLAIN)), PLAIN), 1);
    assert.equal(queryTextOffset(payloadOf(buildQuery('SELECT 1', ATTRIBUTES)), ATTRIBUTES), 3);
    // A string, a NULL, a long, a date of 4 bytes.
    const writer = new PacketWriter().u8(COM.QUERY).lenenc(4).lenenc(1).u8(0b0010).u8(1);
    for (const [type, name] of [
      [253, 'a'],
      [6, 'b'],
      [3, 'c'],
      [10, 'd'],
    ] as const)
      writer.u16(type).lenencText(name);
    writer.lenencText('value').u32(5).u8(4).u32(0).text('SELECT 2');
    const payload = Buffer.from(writer.payload());
    assert.equal(payload.toString('latin1', queryTextOffset(payload, ATTRIBUTES)), 'SELECT 2');
    everyTruncation(payload, (cut) => queryTextOffset(cut, ATTRIBUTES));
  });

  it('takes an execution apart and binds its types anew', () => {
    // Documented: one parameter, string "foo".
    const documented = hex('17 01000000 00 01000000 00 01 0f00 03 66 6f 6f');
    const execute = parseExecute(documented, 1, PLAIN);
    assert.deepEqual(execute.types, hex('0f00'));
    assert.equal(execute.values.toString('latin1', 1), 'foo');
    everyTruncation(documented, (cut) => parseExecute(cut, 1, PLAIN));
    assert.deepEqual(payloadOf(buildExecute(execute, 1, execute.types, PLAIN)), documented);
    const again = hex('17 07000000 00 01000000 00 00 03 66 6f 6f');
    const unbound = parseExecute(again, 1, PLAIN);
    assert.equal(unbound.types, null);
    assert.deepEqual(payloadOf(buildExecute(unbound, 1, execute.types, PLAIN)), documented);
    assert.deepEqual(payloadOf(buildExecute(unbound, 7, null, PLAIN)), again);
    const none = hex('17 02000000 01 01000000');
    assert.deepEqual(payloadOf(buildExecute(parseExecute(none, 0, PLAIN), 2, null, PLAIN)), none);
  });

  it('keeps query attributes of an execution', () => {
    const writer = new PacketWriter().u8(COM.STMT_EXECUTE).u32(3).u8(8).u32(1).lenenc(2).u8(0).u8(1);
    writer.u16(8).lenencText('').u16(254).lenencText('trace').bytes(Buffer.alloc(8, 9)).lenencText('abc');
    const payload = Buffer.from(writer.payload());
    const execute = parseExecute(payload, 1, ATTRIBUTES);
    assert.equal(execute.parameters, 2);
    assert.deepEqual(payloadOf(buildExecute(execute, 3, execute.types, ATTRIBUTES)), payload);
    const counted = Buffer.from(
      new PacketWriter().u8(COM.STMT_EXECUTE).u32(3).u8(8).u32(1).lenenc(0).payload(),
    );
    assert.deepEqual(
      payloadOf(buildExecute(parseExecute(counted, 0, ATTRIBUTES), 3, null, ATTRIBUTES)),
      counted,
    );
  });

  it('takes a bulk execution apart', () => {
    const payload = hex('fa 05000000 8000 0300 fe00 00 01000000 00 01 61 00 02000000 01');
    const bulk = parseBulkExecute(payload, 2);
    assert.equal(bulk.statementId, 5);
    assert.equal(bulk.flags, 0);
    assert.deepEqual(bulk.types, hex('0300fe00'));
    assert.deepEqual(payloadOf(buildBulkExecute(bulk, 5, bulk.types)), payload);
    const unbound = parseBulkExecute(payloadOf(buildBulkExecute(bulk, 6, null)), 2);
    assert.equal(unbound.types, null);
    assert.deepEqual(unbound.rows, bulk.rows);
  });

  it('reads long data and a change of user', () => {
    assert.deepEqual(parseLongData(hex('18 02000000 0100 6162')), {
      statementId: 2,
      parameter: 1,
      data: Buffer.from('ab'),
    });
    const capabilities = { flags: CAPABILITY.SECURE_CONNECTION | CAPABILITY.PLUGIN_AUTH, mariadb: 0 };
    const change = {
      user: 'bob',
      authResponse: Buffer.alloc(20, 1),
      database: 'x',
      collation: 33,
      plugin: 'mysql_native_password',
      attributes: new Map(),
    };
    const payload = payloadOf(buildChangeUser(change));
    assert.deepEqual(parseChangeUser(payload, capabilities), change);
    everyTruncation(payload, (cut) => parseChangeUser(cut, capabilities));
    assert.equal(commandName(COM.STMT_EXECUTE), 'COM_STMT_EXECUTE');
    assert.equal(commandName(0x77), 'command 0x77');
  });
});

describe('heads of results', () => {
  it('reads counts and the metadata flag where it was agreed upon', () => {
    assert.deepEqual(parseResultSetHead(hex('05'), PLAIN), { columns: 5, metadata: true });
    const optional = { flags: CAPABILITY.OPTIONAL_RESULTSET_METADATA, mariadb: 0 };
    assert.deepEqual(parseResultSetHead(hex('00 fcfa00'), optional), { columns: 250, metadata: false });
    const prepared = { statementId: 9, columns: 2, parameters: 3, warnings: 1, metadata: true };
    assert.deepEqual(parsePrepareOk(payloadOf(buildPrepareOk(prepared, PLAIN, 1)), PLAIN), prepared);
    const bare = { ...prepared, metadata: false };
    assert.deepEqual(parsePrepareOk(payloadOf(buildPrepareOk(bare, optional, 1)), optional), bare);
  });

  it('reads an AuthSwitchRequest without the zero behind its challenge', () => {
    const request = { plugin: 'caching_sha2_password', scramble: Buffer.from('abcdefghijklmnopqrst') };
    assert.deepEqual(parseAuthSwitchRequest(payloadOf(buildAuthSwitchRequest(request, 2))), request);
    assert.equal(parseAuthSwitchRequest(hex('fe')).plugin, 'mysql_old_password');
  });
});
