// What a node sends and what the proxy sends in its place: builders against the codecs, and against pg-protocol's reader.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { parse as parseWithPgProtocol } from 'pg-protocol';
import { ProxyError } from '../../../src/lib/errors.js';
import {
  BACKEND,
  errorCodeOf,
  parseAuthentication,
  parseBackendKeyData,
  parseCommandComplete,
  parseCopyResponse,
  parseErrorResponse,
  parseNegotiateProtocolVersion,
  parseNotification,
  parseParameterStatus,
  parseReadyForQuery,
} from '../../../src/postgres/wire/backend.js';
import {
  AUTHENTICATION_CLEARTEXT,
  AUTHENTICATION_OK,
  authenticationMd5,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  BIND_COMPLETE,
  backendKeyData,
  CLOSE_COMPLETE,
  commandComplete,
  EMPTY_QUERY_RESPONSE,
  errorResponse,
  NO_DATA,
  negotiateProtocolVersion,
  noticeResponse,
  PARSE_COMPLETE,
  PORTAL_SUSPENDED,
  parameterStatus,
  proxyErrorResponse,
  readyForQuery,
  textResult,
} from '../../../src/postgres/wire/backend-messages.js';
import { MessageWriter } from '../../../src/postgres/wire/bytes.js';

type Codec = (buffer: Buffer, start: number, end: number) => unknown;

const isViolation = (cause: unknown): boolean =>
  cause instanceof ProxyError && cause.code === 'protocol-violation';

function at<T>(codec: (buffer: Buffer, start: number, end: number) => T, message: Buffer): T {
  const buffer = Buffer.concat([Buffer.alloc(3, 0xee), message, Buffer.alloc(9)]);
  return codec(buffer, 3, 3 + message.length);
}

const NOTIFICATION = new MessageWriter()
  .begin(BACKEND.notificationResponse)
  .int32(42)
  .cstring('channel')
  .cstring('payload')
  .end()
  .finish();
const COPY_IN = new MessageWriter()
  .begin(BACKEND.copyInResponse)
  .int8(1)
  .int16(2)
  .int16(1)
  .int16(1)
  .end()
  .finish();
const ERROR = errorResponse({
  severity: 'ERROR',
  code: '42P01',
  message: 'relation "t" does not exist',
  hint: 'create it',
});

describe('messages of a node', () => {
  it('have the fields that the builders wrote', () => {
    assert.equal(at(parseReadyForQuery, readyForQuery('idle')), 'idle');
    assert.equal(at(parseReadyForQuery, readyForQuery('transaction')), 'transaction');
    assert.equal(at(parseReadyForQuery, readyForQuery('failed')), 'failed');
    assert.equal(at(parseCommandComplete, commandComplete('INSERT 0 1')), 'INSERT 0 1');
    assert.deepEqual(at(parseParameterStatus, parameterStatus('TimeZone', 'UTC')), {
      name: 'TimeZone',
      value: 'UTC',
    });
    assert.deepEqual(at(parseCopyResponse, COPY_IN), { binary: true, columns: 2 });
    assert.deepEqual(at(parseNotification, NOTIFICATION), {
      processId: 42,
      channel: 'channel',
      payload: 'payload',
    });
    for (const bytes of [4, 256]) {
      const secretKey = Buffer.alloc(bytes, 7);
      assert.deepEqual(at(parseBackendKeyData, backendKeyData(-9, secretKey)), { processId: -9, secretKey });
    }
    assert.deepEqual(at(parseNegotiateProtocolVersion, negotiateProtocolVersion(2, ['_pq_.a', '_pq_.b'])), {
      minor: 2,
      unknownOptions: ['_pq_.a', '_pq_.b'],
    });
  });

  it('ask for authentication', () => {
    assert.deepEqual(at(parseAuthentication, AUTHENTICATION_OK), { kind: 'ok' });
    assert.deepEqual(at(parseAuthentication, AUTHENTICATION_CLEARTEXT), { kind: 'cleartext' });
    const salt = Buffer.from([1, 2, 3, 4]);
    assert.deepEqual(at(parseAuthentication, authenticationMd5(salt)), { kind: 'md5', salt });
    const mechanisms = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'];
    assert.deepEqual(at(parseAuthentication, authenticationSasl(mechanisms)), { kind: 'sasl', mechanisms });
    assert.deepEqual(at(parseAuthentication, authenticationSaslContinue('r=x')), {
      kind: 'sasl-continue',
      data: Buffer.from('r=x'),
    });
    assert.deepEqual(at(parseAuthentication, authenticationSaslFinal('v=x')), {
      kind: 'sasl-final',
      data: Buffer.from('v=x'),
    });
    const gss = new MessageWriter().begin(BACKEND.authentication).int32(7).end().finish();
    assert.deepEqual(at(parseAuthentication, gss), { kind: 'unsupported', method: 'GSSAPI' });
  });

  it('carry errors with all their fields', () => {
    const { severity, code, message, detail, hint } = at(parseErrorResponse, ERROR);
    assert.deepEqual(
      { severity, code, message, detail, hint },
      {
        severity: 'ERROR',
        code: '42P01',
        message: 'relation "t" does not exist',
        detail: null,
        hint: 'create it',
      },
    );
    assert.equal(at(errorCodeOf, ERROR), '42P01');
  });

  it('carry our own errors: FATAL when the connection ends with it, ERROR when not', () => {
    const fatal = at(
      parseErrorResponse,
      proxyErrorResponse(new ProxyError('too-many-clients', { limit: 3 })),
    );
    assert.equal(fatal.severity, 'FATAL');
    assert.equal(fatal.code, '53300');
    assert.equal(fatal.message, 'too many client connections (limit 3)');
    assert.equal(fatal.all.get('S'), 'FATAL');
    const error = at(
      parseErrorResponse,
      proxyErrorResponse(new ProxyError('pool-timeout', { node: 'a', ms: 5 })),
    );
    assert.equal(error.severity, 'ERROR');
    const last = at(parseErrorResponse, proxyErrorResponse(new ProxyError('no-primary'), 'FATAL'));
    assert.equal(last.severity, 'FATAL');
  });

  it('have no field that a quoted zero byte could end', () => {
    const fields = at(
      parseErrorResponse,
      proxyErrorResponse(new ProxyError('denied-by-rule', { detail: 'a\0Cb' })),
    );
    assert.equal(fields.message, 'a\\0Cb');
    assert.equal(fields.code, '42501');
  });

  it('are refused when they are cut anywhere', () => {
    const cases: [string, Codec, Buffer][] = [
      ['ReadyForQuery', parseReadyForQuery, readyForQuery('idle')],
      ['CommandComplete', parseCommandComplete, commandComplete('SELECT 1')],
      ['ParameterStatus', parseParameterStatus, parameterStatus('a', 'b')],
      ['BackendKeyData', parseBackendKeyData, backendKeyData(1, Buffer.alloc(4, 1))],
      ['ErrorResponse', parseErrorResponse, ERROR],
      ['CopyInResponse', parseCopyResponse, COPY_IN],
      ['NotificationResponse', parseNotification, NOTIFICATION],
      ['Authentication', parseAuthentication, AUTHENTICATION_OK],
      ['AuthenticationMD5', parseAuthentication, authenticationMd5(Buffer.alloc(4, 1))],
      ['AuthenticationSASL', parseAuthentication, authenticationSasl(['SCRAM-SHA-256'])],
      ['NegotiateProtocolVersion', parseNegotiateProtocolVersion, negotiateProtocolVersion(2, ['_pq_.a'])],
    ];
    for (const [name, codec, message] of cases) {
      // The MD5 request is one of other kinds when only its code is left.
      const first = name === 'AuthenticationSASL' ? 9 : 5;
      for (let cut = first; cut < message.length; cut++) {
        const zeros = Buffer.concat([message.subarray(0, cut), Buffer.alloc(300)]);
        assert.throws(() => codec(zeros, 0, cut), isViolation, `${name} cut at ${cut}`);
      }
    }
  });

  it('are read by pg-protocol as they were meant', async () => {
    const stream = new PassThrough();
    const names: string[] = [];
    const parsed = parseWithPgProtocol(stream, (message) => names.push(describeMessage(message)));
    stream.end(
      Buffer.concat([
        AUTHENTICATION_OK,
        authenticationSasl(['SCRAM-SHA-256']),
        parameterStatus('server_version', '15.1'),
        backendKeyData(1, Buffer.alloc(4)),
        noticeResponse({ severity: 'NOTICE', code: '00000', message: 'hello' }),
        PARSE_COMPLETE,
        BIND_COMPLETE,
        NO_DATA,
        PORTAL_SUSPENDED,
        CLOSE_COMPLETE,
        EMPTY_QUERY_RESPONSE,
        textResult(
          ['node', 'role'],
          [
            ['a', 'primary'],
            ['b', null],
          ],
        ),
        errorResponse({ severity: 'ERROR', code: '42P01', message: 'no table' }),
        readyForQuery('idle'),
      ]),
    );
    await parsed;
    assert.deepEqual(names, [
      'authenticationOk',
      'authenticationSASL mechanisms=SCRAM-SHA-256',
      'parameterStatus parameterName=server_version parameterValue=15.1',
      'backendKeyData processID=1',
      'notice message=hello code=00000',
      'parseComplete',
      'bindComplete',
      'noData',
      'portalSuspended',
      'closeComplete',
      'emptyQuery',
      'rowDescription fieldCount=2',
      'dataRow fieldCount=2 fields=a,primary',
      'dataRow fieldCount=2 fields=b,',
      'commandComplete text=SELECT 2',
      'error message=no table code=42P01',
      'readyForQuery status=I',
    ]);
  });
});

function describeMessage(message: object): string {
  const record = message as Record<string, unknown>;
  const shown = [
    'mechanisms',
    'parameterName',
    'parameterValue',
    'processID',
    'fieldCount',
    'text',
    'message',
    'code',
    'status',
  ];
  const parts = [String(record.name)];
  for (const key of shown) if (record[key] !== undefined) parts.push(`${key}=${String(record[key])}`);
  if (record.name === 'dataRow') parts.push(`fields=${String(record.fields)}`);
  return parts.join(' ');
}
