// What an application sends: fields by their offsets, rewritten names, and messages that are cut or malformed.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { serialize } from 'pg-protocol';
import { ProxyError } from '../../../src/lib/errors.js';
import {
  buildBind,
  buildClose,
  buildCopyFail,
  buildDescribe,
  buildExecute,
  buildParse,
  buildPassword,
  buildQuery,
  buildSaslInitialResponse,
  buildSaslResponse,
  parameterType,
  parseBind,
  parseDescribe,
  parseExecute,
  parseParse,
  parseQuery,
  parseSaslInitialResponse,
  passwordBody,
  renameBind,
  renameParse,
} from '../../../src/postgres/wire/frontend.js';
import {
  buildCancelRequest,
  buildSslRequest,
  buildStartupMessage,
  parseStartupPacket,
} from '../../../src/postgres/wire/startup.js';

type Codec = (buffer: Buffer, start: number, end: number) => unknown;

const isViolation = (cause: unknown): boolean =>
  cause instanceof ProxyError && cause.code === 'protocol-violation';

/** The message in the middle of other bytes, which no codec may look at. */
function embedded(message: Buffer): [buffer: Buffer, start: number, end: number] {
  return [Buffer.concat([Buffer.alloc(7, 0xee), message, Buffer.alloc(9, 0x00)]), 7, 7 + message.length];
}

/** Every end before the right one, with zero bytes behind it that must not be read as part of the message. */
function refusesEveryCut(name: string, codec: Codec, message: Buffer, headerBytes = 5): void {
  const [buffer, start, end] = embedded(message);
  codec(buffer, start, end);
  for (let cut = start + headerBytes; cut < end; cut++) {
    const zeros = Buffer.concat([buffer.subarray(0, cut), Buffer.alloc(300)]);
    assert.throws(() => codec(zeros, start, cut), isViolation, `${name} cut at ${cut - start}`);
  }
  const longer = Buffer.concat([buffer.subarray(0, end), Buffer.from('x\0')]);
  if (name !== 'Bind') assert.throws(() => codec(longer, start, end + 2), isViolation, `${name} with more`);
}

describe('messages of an application', () => {
  it('Query', () => {
    const [buffer, start, end] = embedded(buildQuery('select 1'));
    const { textStart, textEnd } = parseQuery(buffer, start, end);
    assert.equal(buffer.toString('utf8', textStart, textEnd), 'select 1');
  });

  it('Query with a zero byte inside, behind which a second text could hide', () => {
    const message = Buffer.from('Q\0\0\0\x1eselect 1\0; delete from t\0\0', 'latin1');
    assert.throws(() => parseQuery(message, 0, message.length), isViolation);
    assert.throws(() => buildQuery('select 1\0; delete'), isViolation);
  });

  it('Parse', () => {
    const [buffer, start, end] = embedded(buildParse('s1', 'select $1 + $2', [23, 4_294_967_295]));
    const fields = parseParse(buffer, start, end);
    assert.equal(fields.name, 's1');
    assert.equal(buffer.toString('utf8', fields.textStart, fields.textEnd), 'select $1 + $2');
    assert.equal(fields.typeCount, 2);
    assert.deepEqual(
      [parameterType(buffer, fields, 0), parameterType(buffer, fields, 1)],
      [23, 4_294_967_295],
    );
  });

  it('Parse under another name keeps text and types', () => {
    const [buffer, start, end] = embedded(buildParse('a', 'select $1', [25]));
    const renamed = renameParse(buffer, end, parseParse(buffer, start, end), 'scheelite_17');
    assert.deepEqual(renamed, buildParse('scheelite_17', 'select $1', [25]));
  });

  it('Bind under another name keeps portal, formats and values', () => {
    const original = buildBind('p', 'a', ['7', null, 'x'.repeat(300)]);
    const [buffer, start, end] = embedded(original);
    const fields = parseBind(buffer, start, end);
    assert.deepEqual([fields.portal, fields.statement], ['p', 'a']);
    const renamed = renameBind(buffer, start, end, fields, 'longer_name');
    assert.deepEqual(renamed, buildBind('p', 'longer_name', ['7', null, 'x'.repeat(300)]));
    assert.deepEqual(
      renameBind(renamed, 0, renamed.length, parseBind(renamed, 0, renamed.length), 'a'),
      original,
    );
  });

  it('names are bytes: whatever the client_encoding, they come back unchanged', () => {
    const name = Buffer.from([0xff, 0xc3, 0xa4, 0x80, 0x41]);
    const text = Buffer.from([0x73, 0xe4]);
    const parse = Buffer.concat([
      Buffer.from('P\0\0\0\0'),
      name,
      Buffer.from([0]),
      text,
      Buffer.from([0, 0, 0]),
    ]);
    parse.writeInt32BE(parse.length - 1, 1);
    const fields = parseParse(parse, 0, parse.length);
    assert.equal(fields.name.length, name.length);
    assert.deepEqual(buildParse(fields.name, text), parse);
    assert.deepEqual(renameParse(parse, parse.length, fields, fields.name), parse);
    const describeIt = buildDescribe('statement', fields.name);
    assert.deepEqual(describeIt.subarray(6, -1), name);
    assert.equal(parseDescribe(describeIt, 0, describeIt.length).name, fields.name);
  });

  it('Describe, Close and Execute', () => {
    for (const kind of ['statement', 'portal'] as const) {
      for (const build of [buildDescribe, buildClose]) {
        assert.deepEqual(parseDescribe(...embedded(build(kind, 'n'))), { kind, name: 'n' });
      }
    }
    assert.deepEqual(parseExecute(...embedded(buildExecute(''))), { portal: '', maxRows: 0 });
    assert.deepEqual(parseExecute(...embedded(buildExecute('p', 50))), { portal: 'p', maxRows: 50 });
  });

  it('SASLInitialResponse with and without a response', () => {
    const { mechanism, response } = parseSaslInitialResponse(
      ...embedded(buildSaslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc')),
    );
    assert.equal(mechanism, 'SCRAM-SHA-256');
    assert.equal(response?.toString(), 'n,,n=,r=abc');
    const none = Buffer.from('p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff', 'latin1');
    assert.equal(parseSaslInitialResponse(none, 0, none.length).response, null);
    assert.equal(passwordBody(...embedded(buildSaslResponse('c=biws'))).toString(), 'c=biws');
  });

  it('are the messages that pg-protocol writes', () => {
    assert.deepEqual(
      buildParse('s', 'select 1', [23]),
      serialize.parse({ name: 's', text: 'select 1', types: [23] }),
    );
    assert.deepEqual(buildExecute('p', 5), serialize.execute({ portal: 'p', rows: 5 }));
    assert.deepEqual(buildDescribe('portal', 'p'), serialize.describe({ type: 'P', name: 'p' }));
    assert.deepEqual(buildClose('statement', 's'), serialize.close({ type: 'S', name: 's' }));
    assert.deepEqual(buildCancelRequest(7, Buffer.from([0, 0, 0, 9])), serialize.cancel(7, 9));
    assert.deepEqual(buildSslRequest(), serialize.requestSsl());
    assert.deepEqual(
      buildStartupMessage([
        ['user', 'app'],
        ['client_encoding', 'UTF8'],
      ]),
      serialize.startup({ user: 'app' }),
    );
  });

  it('cannot be made with a zero byte in a string', () => {
    for (const build of [
      () => buildPassword('a\0b'),
      () => buildCopyFail('a\0b'),
      () => buildParse('a\0b', 'select 1'),
      () => buildParse('', 'a\0b'),
      () => buildDescribe('portal', '\0'),
      () => buildStartupMessage([['user', 'a\0database\0b']]),
    ]) {
      assert.throws(build, isViolation);
    }
  });

  it('are refused when they are cut anywhere', () => {
    refusesEveryCut('Query', parseQuery, buildQuery('select 1'));
    refusesEveryCut('Parse', parseParse, buildParse('s1', 'select $1', [23, 25]));
    refusesEveryCut('Describe', parseDescribe, buildDescribe('statement', 'abc'));
    refusesEveryCut('Execute', parseExecute, buildExecute('abc', 7));
    refusesEveryCut('SASL', parseSaslInitialResponse, buildSaslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=x'));
    // Of a Bind only the names are read.
    refusesEveryCut('Bind', parseBind, buildBind('portal', 'statement').subarray(0, 5 + 7 + 10));
  });
});

describe('startup packets', () => {
  const parse = (packet: Buffer) => parseStartupPacket(...embedded(packet));

  it('StartupMessage: user, database and what is left as parameters', () => {
    const packet = parse(
      buildStartupMessage([
        ['user', 'app'],
        ['database', 'ledger'],
        ['application_name', 'psql'],
        ['options', '-c search_path=x'],
        ['_pq_.something', '1'],
        ['replication', 'false'],
      ]),
    );
    assert.deepEqual(packet, {
      kind: 'startup',
      major: 3,
      minor: 0,
      user: 'app',
      database: 'ledger',
      replication: 'false',
      options: '-c search_path=x',
      parameters: new Map([['application_name', 'psql']]),
      extensions: ['_pq_.something'],
    });
  });

  it('StartupMessage: the database is the user unless it is named', () => {
    const packet = parse(buildStartupMessage([['user', 'app']], 2));
    assert.ok(packet.kind === 'startup');
    assert.deepEqual([packet.database, packet.minor], ['app', 2]);
  });

  it('another major version is answered by its number, whatever follows', () => {
    const packet = parse(Buffer.from([0, 0, 0, 12, 0, 2, 0, 0, 1, 2, 3, 4]));
    assert.ok(packet.kind === 'startup');
    assert.deepEqual([packet.major, packet.minor], [2, 0]);
  });

  it('SSLRequest, GSSENCRequest', () => {
    assert.equal(parse(buildSslRequest()).kind, 'ssl-request');
    assert.equal(parse(Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30])).kind, 'gssenc-request');
    assert.throws(() => parse(Buffer.concat([buildSslRequest(), Buffer.from('x')])), isViolation);
  });

  it('CancelRequest with keys of 4 and of 256 bytes, and no other', () => {
    for (const bytes of [4, 32, 256]) {
      const key = Buffer.alloc(bytes, 0xab);
      assert.deepEqual(parse(buildCancelRequest(-5, key)), { kind: 'cancel', processId: -5, secretKey: key });
    }
    for (const bytes of [0, 3, 257]) {
      assert.throws(() => parse(buildCancelRequest(1, Buffer.alloc(bytes))), isViolation);
    }
  });

  it('is refused without a user, and cut anywhere', () => {
    assert.throws(() => parse(buildStartupMessage([['database', 'x']])), isViolation);
    refusesEveryCut('StartupMessage', parseStartupPacket, buildStartupMessage([['user', 'app']]), 4);
  });
});
