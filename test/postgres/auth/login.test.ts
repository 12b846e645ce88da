// An application's login against a login to a node: every method with every kind of secret, as transcripts.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClientLogin, type ClientLoginMethod } from '../../../src/postgres/auth/client-login.js';
import { LoginSecrets } from '../../../src/postgres/auth/login-secrets.js';
import { md5Answer, md5Hash } from '../../../src/postgres/auth/md5.js';
import {
  buildScramVerifier,
  deriveScramKeys,
  formatScramVerifier,
} from '../../../src/postgres/auth/scram.js';
import { ServerLogin } from '../../../src/postgres/auth/server-login.js';
import {
  AUTHENTICATION_OK,
  authenticationMd5,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  errorResponse,
  negotiateProtocolVersion,
  parameterStatus,
  readyForQuery,
} from '../../../src/postgres/wire/backend-messages.js';
import { buildPassword, buildQuery, buildSaslInitialResponse } from '../../../src/postgres/wire/frontend.js';
import type { UserLookup } from '../../../src/protocol/client-connection.js';
import type { Credential } from '../../../src/protocol/credential.js';
import { Random } from '../wire/random.js';
import { talk } from './talk.js';

const PASSWORD = 'correct horse';
const SALT = Buffer.alloc(16, 3);
const KEYS = deriveScramKeys(PASSWORD, SALT, 4096);
const HASH = md5Hash('app', PASSWORD);

const LOOKUPS = {
  plaintext: { kind: 'password', password: PASSWORD },
  scram: {
    kind: 'verifier',
    verifier: { method: 'scram-sha-256', secret: formatScramVerifier(buildScramVerifier(PASSWORD, SALT)) },
  },
  md5: { kind: 'verifier', verifier: { method: 'md5', secret: HASH } },
  none: { kind: 'verifier', verifier: { method: 'none', secret: '' } },
  unknown: { kind: 'unknown' },
} as const satisfies Record<string, UserLookup>;
type Stored = keyof typeof LOOKUPS;

const CREDENTIALS = {
  password: { kind: 'password', password: PASSWORD },
  wrong: { kind: 'password', password: 'wrong' },
  keys: { kind: 'scram-keys', ...KEYS },
  md5: { kind: 'md5', hash: HASH },
  nothing: { kind: 'none' },
} as const satisfies Record<string, Credential>;
type Known = keyof typeof CREDENTIALS;

const SCRAM = ['< sasl SCRAM-SHA-256', '> 55 bytes of p', '< sasl-continue', '> 109 bytes of p'];
const SCRAM_OK = [...SCRAM, '< sasl-final', '< ok', '< S', '< K', '< Z'];
const MD5 = ['< md5', '> 41 bytes of p'];
const CLEAR = ['< cleartext', '> 19 bytes of p'];
const OK = ['< ok', '< S', '< K', '< Z'];
const REFUSED = ['< FATAL 28P01 password authentication failed for user "app"'];

describe('who may log in', () => {
  const cases: [
    method: ClientLoginMethod,
    stored: Stored,
    known: Known,
    transcript: string[],
    credential: string,
  ][] = [
    ['auto', 'plaintext', 'password', SCRAM_OK, 'password'],
    ['auto', 'scram', 'password', SCRAM_OK, 'scram-keys'],
    ['auto', 'scram', 'keys', SCRAM_OK, 'scram-keys'],
    ['auto', 'md5', 'password', [...MD5, ...OK], 'md5'],
    ['auto', 'md5', 'md5', [...MD5, ...OK], 'md5'],
    ['scram-sha-256', 'plaintext', 'password', SCRAM_OK, 'password'],
    ['scram-sha-256', 'scram', 'password', SCRAM_OK, 'scram-keys'],
    ['md5', 'plaintext', 'password', [...MD5, ...OK], 'password'],
    ['md5', 'scram', 'password', SCRAM_OK, 'scram-keys'],
    ['md5', 'md5', 'md5', [...MD5, ...OK], 'md5'],
    ['password', 'plaintext', 'password', [...CLEAR, ...OK], 'password'],
    ['password', 'scram', 'password', [...CLEAR, ...OK], 'password'],
    ['password', 'md5', 'password', [...CLEAR, ...OK], 'password'],
    ['trust', 'plaintext', 'nothing', OK, 'password'],
    ['trust', 'md5', 'nothing', OK, 'md5'],
    ['trust', 'scram', 'nothing', OK, 'none'],
    ['trust', 'unknown', 'nothing', OK, 'none'],
  ];
  for (const [method, stored, known, transcript, credential] of cases) {
    it(`${method}: stored ${stored}, the client knows ${known}`, () => {
      const result = talk({ method, lookup: LOOKUPS[stored] }, { credential: CREDENTIALS[known] });
      assert.deepEqual(result.transcript, transcript);
      assert.equal(result.connecting.kind, 'ready');
      assert.ok(result.accepting.kind === 'authenticated');
      assert.equal(result.accepting.credential.kind, credential);
      if (result.accepting.credential.kind === 'scram-keys') {
        assert.deepEqual(result.accepting.credential, { kind: 'scram-keys', ...KEYS });
      }
    });
  }

  it('what was recovered from a proof logs in to a node that has the same verifier', () => {
    const first = talk({ method: 'auto', lookup: LOOKUPS.scram }, { credential: CREDENTIALS.password });
    assert.ok(first.accepting.kind === 'authenticated');
    const second = talk(
      { method: 'scram-sha-256', lookup: LOOKUPS.scram },
      { credential: first.accepting.credential },
    );
    assert.equal(second.connecting.kind, 'ready');
  });
});

describe('who may not', () => {
  const cases: [
    method: ClientLoginMethod,
    stored: Stored,
    known: Known,
    transcript: string[],
    reason: RegExp,
  ][] = [
    ['auto', 'plaintext', 'wrong', [...SCRAM, ...REFUSED], /wrong password/],
    ['auto', 'scram', 'wrong', [...SCRAM, ...REFUSED], /wrong password/],
    ['auto', 'unknown', 'password', [...SCRAM, ...REFUSED], /no such user/],
    ['auto', 'none', 'password', [...SCRAM, ...REFUSED], /no password is stored/],
    ['auto', 'md5', 'wrong', [...MD5, ...REFUSED], /wrong password/],
    ['scram-sha-256', 'md5', 'password', [...SCRAM, ...REFUSED], /demands SCRAM/],
    ['scram-sha-256', 'unknown', 'password', [...SCRAM, ...REFUSED], /no such user/],
    ['md5', 'unknown', 'password', [...MD5, ...REFUSED], /no such user/],
    ['md5', 'plaintext', 'wrong', [...MD5, ...REFUSED], /wrong password/],
    ['password', 'plaintext', 'wrong', ['< cleartext', '> 11 bytes of p', ...REFUSED], /wrong password/],
    ['password', 'scram', 'wrong', ['< cleartext', '> 11 bytes of p', ...REFUSED], /wrong password/],
    ['password', 'unknown', 'password', [...CLEAR, ...REFUSED], /no such user/],
    ['password', 'none', 'password', [...CLEAR, ...REFUSED], /no password is stored/],
  ];
  for (const [method, stored, known, transcript, reason] of cases) {
    it(`${method}: stored ${stored}, the client knows ${known}`, () => {
      const result = talk({ method, lookup: LOOKUPS[stored] }, { credential: CREDENTIALS[known] });
      assert.deepEqual(result.transcript, transcript);
      assert.ok(result.accepting.kind === 'failed');
      assert.match(result.accepting.reason, reason);
      assert.ok(result.connecting.kind === 'failed');
      assert.equal(result.connecting.error.code, 'login-refused');
      assert.equal(result.connecting.serverError?.code, '28P01');
    });
  }

  it('nobody gets in with an empty password', () => {
    for (const method of ['auto', 'md5', 'password', 'scram-sha-256'] as const) {
      const lookup = { kind: 'password', password: '' } as const;
      const result = talk({ method, lookup }, { credential: { kind: 'password', password: '' } });
      assert.equal(result.accepting.kind, 'failed', method);
    }
  });

  it('an unknown user sees the salt that it saw before, like a known one', () => {
    const secrets = new LoginSecrets();
    const initial = buildSaslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc');
    const saltFor = (lookup: UserLookup): string | undefined => {
      const login = new ClientLogin({ method: 'auto', user: 'app', lookup, secrets });
      login.start();
      const step = login.message(0x70, initial, 0, initial.length);
      assert.ok(step.kind === 'continue');
      return /s=([^,]+),i=4096/.exec(step.send.toString())?.[1];
    };
    for (const lookup of [LOOKUPS.unknown, LOOKUPS.plaintext]) {
      assert.ok(saltFor(lookup));
      assert.equal(saltFor(lookup), saltFor(lookup));
    }
  });
});

describe('an application that breaks the protocol', () => {
  const login = (method: ClientLoginMethod): ClientLogin => {
    const client = new ClientLogin({ method, user: 'app', lookup: LOOKUPS.plaintext });
    client.start();
    return client;
  };
  const cases: [name: string, method: ClientLoginMethod, message: Buffer][] = [
    ['a query in place of a password', 'password', buildQuery('select 1')],
    ['a password with more behind it', 'password', Buffer.from('p\0\0\0\x08a\0b\0')],
    [
      'a mechanism that was not offered',
      'auto',
      buildSaslInitialResponse('SCRAM-SHA-256-PLUS', 'p=x,,n=,r=a'),
    ],
    ['channel binding', 'auto', buildSaslInitialResponse('SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=a')],
    ['a password in place of SASL', 'auto', buildPassword('secret')],
  ];
  for (const [name, method, message] of cases) {
    it(name, () => {
      const step = login(method).message(message[0]!, message, 0, message.length);
      assert.ok(step.kind === 'failed');
      assert.equal(step.error.code, 'protocol-violation');
    });
  }

  it('is asked for its first SCRAM message when it sent none with the mechanism', () => {
    const client = login('auto');
    const none = Buffer.from('p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff', 'latin1');
    assert.deepEqual(client.message(0x70, none, 0, none.length), {
      kind: 'continue',
      send: authenticationSaslContinue(''),
    });
    const first = Buffer.from('p\0\0\0\x0fn,,n=,r=abc');
    const step = client.message(0x70, first, 0, first.length);
    assert.ok(step.kind === 'continue');
    assert.match(step.send.toString(), /r=abc[^,]+,s=/);
  });
});

describe('a node', () => {
  const login = (credential: Credential, minor = 0): ServerLogin => {
    const server = new ServerLogin({ node: 'n1', user: 'app', database: 'ledger', credential, minor });
    server.start();
    return server;
  };
  const tell = (server: ServerLogin, ...messages: Buffer[]) => {
    let step = server.message(messages[0]![0]!, messages[0]!, 0, messages[0]!.length);
    for (const message of messages.slice(1)) {
      assert.equal(step.kind, 'continue');
      step = server.message(message[0]!, message, 0, message.length);
    }
    return step;
  };
  const refusal = (code: string, message: string): Buffer =>
    errorResponse({ severity: 'FATAL', code, message });

  it('that asks for what the credential cannot answer', () => {
    const md5 = authenticationMd5(Buffer.alloc(4));
    const sasl = authenticationSasl(['SCRAM-SHA-256']);
    const cases: [Known, Buffer, RegExp][] = [
      ['keys', md5, /asks for an MD5 password, but of this user only SCRAM keys are known/],
      ['nothing', md5, /asks for an MD5 password, but of this user only the name is known/],
      ['md5', sasl, /asks for SCRAM-SHA-256, but of this user only the MD5 hash is known/],
      ['password', authenticationSasl(['SCRAM-SHA-256-PLUS']), /offers SCRAM-SHA-256-PLUS only/],
    ];
    for (const [known, message, expected] of cases) {
      const step = tell(login(CREDENTIALS[known]), message);
      assert.ok(step.kind === 'failed');
      assert.equal(step.error.code, 'server-login-failed');
      assert.match(step.error.message, expected);
    }
  });

  it('that asks for MD5 gets the hash of the hash', () => {
    const salt = Buffer.from([1, 2, 3, 4]);
    const expected = { kind: 'continue', send: buildPassword(md5Answer(HASH, salt)) };
    assert.deepEqual(tell(login(CREDENTIALS.password), authenticationMd5(salt)), expected);
    assert.deepEqual(tell(login(CREDENTIALS.md5), authenticationMd5(salt)), expected);
  });

  it('that refuses: the error that fits, with what it said', () => {
    const cases: [code: string, message: string, expected: string][] = [
      ['28P01', 'password authentication failed', 'login-refused'],
      ['28000', 'no pg_hba.conf entry', 'login-refused'],
      ['42501', 'permission denied for database', 'login-refused'],
      ['3D000', 'database "ledger" does not exist', 'unknown-database'],
      ['53300', 'sorry, too many clients already', 'node-full'],
      ['57P03', 'the database system is starting up', 'connect-failed'],
    ];
    for (const [code, message, expected] of cases) {
      const step = tell(login(CREDENTIALS.password), refusal(code, message));
      assert.ok(step.kind === 'failed');
      assert.equal(step.error.code, expected);
      assert.equal(step.serverError?.code, code);
      assert.equal(step.serverError?.message, message);
    }
  });

  it('that lets itself off its own proof is refused', () => {
    const server = login(CREDENTIALS.keys);
    const step = tell(server, authenticationSasl(['SCRAM-SHA-256']), AUTHENTICATION_OK);
    assert.ok(step.kind === 'failed');
    assert.equal(step.error.code, 'server-garbage');
  });

  it('that cannot prove its key is refused', () => {
    const server = login(CREDENTIALS.keys);
    const first = server.message(
      0x52,
      authenticationSasl(['SCRAM-SHA-256']),
      0,
      authenticationSasl(['SCRAM-SHA-256']).length,
    );
    assert.ok(first.kind === 'continue' && first.send !== null);
    const nonce = /r=(.+)$/.exec(first.send.toString())?.[1];
    const step = tell(
      server,
      authenticationSaslContinue(`r=${nonce}x,s=AAAA,i=4096`),
      authenticationSaslFinal(`v=${Buffer.alloc(32).toString('base64')}`),
    );
    assert.ok(step.kind === 'failed');
    assert.match(step.error.message, /could not prove/);
  });

  it('that speaks 3.0 only negotiates 3.2 down', () => {
    const step = tell(
      login(CREDENTIALS.password, 2),
      negotiateProtocolVersion(0, []),
      AUTHENTICATION_OK,
      parameterStatus('TimeZone', 'UTC'),
      readyForQuery('idle'),
    );
    assert.ok(step.kind === 'ready');
    assert.equal(step.session.minor, 0);
    assert.equal(step.session.backendKey, null);
    assert.deepEqual([...step.session.parameters], [['TimeZone', 'UTC']]);
  });

  it('that breaks the protocol', () => {
    const cases: Buffer[][] = [
      [parameterStatus('a', 'b')],
      [readyForQuery('idle')],
      [AUTHENTICATION_OK, AUTHENTICATION_OK],
      [AUTHENTICATION_OK, readyForQuery('transaction')],
      [authenticationSaslContinue('r=x')],
      [negotiateProtocolVersion(2, [])],
      [Buffer.from([0x52, 0, 0, 0, 4])],
    ];
    for (const messages of cases) {
      const step = tell(login(CREDENTIALS.password), ...messages);
      assert.ok(step.kind === 'failed');
      assert.equal(step.error.code, 'server-garbage');
      assert.match(step.error.message, /node n1 broke the protocol/);
    }
  });
});

it('changed messages end a login with a ProxyError and nothing else', () => {
  const nodeMessages = [
    authenticationSasl(['SCRAM-SHA-256']),
    authenticationSaslContinue('r=abc,s=AAAA,i=1'),
    authenticationSaslFinal('v=AAAA'),
    authenticationMd5(Buffer.alloc(4)),
    AUTHENTICATION_OK,
    parameterStatus('a', 'b'),
    errorResponse({ severity: 'FATAL', code: '28P01', message: 'm' }),
    readyForQuery('idle'),
  ];
  const clientMessages = [
    buildSaslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc'),
    buildPassword('c=biws,r=abc,p=AAAA'),
    buildPassword('secret'),
  ];
  const methods: ClientLoginMethod[] = ['auto', 'md5', 'password', 'scram-sha-256'];
  for (let seed = 0; seed < 20_000; seed++) {
    const random = new Random(seed);
    const server = new ServerLogin({ node: 'n', user: 'u', database: 'd', credential: CREDENTIALS.keys });
    server.start();
    for (let turn = 0; turn < 6; turn++) {
      const message = random.mutate(nodeMessages[random.below(nodeMessages.length)]!);
      if (message.length < 5) continue;
      if (server.message(message[0]!, message, 0, message.length).kind !== 'continue') break;
    }
    const client = new ClientLogin({ method: methods[seed % 4]!, user: 'u', lookup: LOOKUPS.scram });
    client.start();
    for (let turn = 0; turn < 4; turn++) {
      const message = random.mutate(clientMessages[random.below(clientMessages.length)]!);
      // Cleartext is checked by 4,096 hashes: a few are enough.
      if (message.length < 5 || (seed % 4 === 2 && seed > 400)) continue;
      if (client.message(message[0]!, message, 0, message.length).kind !== 'continue') break;
    }
  }
});
