// SCRAM-SHA-256: the example of RFC 7677, both sides against each other, and everything that must be refused.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProxyError } from '../../../src/lib/errors.js';
import { LoginSecrets } from '../../../src/postgres/auth/login-secrets.js';
import {
  buildScramVerifier,
  deriveScramKeys,
  formatScramVerifier,
  parseScramVerifier,
  type ScramVerifier,
} from '../../../src/postgres/auth/scram.js';
import { ScramClient, type ScramSecret } from '../../../src/postgres/auth/scram-client.js';
import { ScramServer } from '../../../src/postgres/auth/scram-server.js';

const isViolation = (cause: unknown): boolean =>
  cause instanceof ProxyError && cause.code === 'protocol-violation';
const bytes = (text: string): Buffer => Buffer.from(text);

// https://www.rfc-editor.org/rfc/rfc7677#section-3
const RFC = {
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const VERIFIER = buildScramVerifier('pencil', SALT, 4096);
const KEYS = deriveScramKeys('pencil', SALT, 4096);

function rfcServer(): ScramServer {
  return new ScramServer(VERIFIER, { serverNonce: RFC.serverNonce });
}

function exchange(secret: ScramSecret, verifier: ScramVerifier): { proven: boolean; serverProven: boolean } {
  const client = new ScramClient(secret);
  const server = new ScramServer(verifier);
  const { keys, serverFinal } = server.final(bytes(client.final(bytes(server.first(bytes(client.first()))))));
  return { proven: keys !== null, serverProven: client.verify(bytes(serverFinal)) };
}

describe('SCRAM-SHA-256', () => {
  it('is the example of RFC 7677, on the client side, by password and by keys', () => {
    for (const secret of [
      { kind: 'password', password: 'pencil' } as const,
      { kind: 'scram-keys', ...KEYS } as const,
    ]) {
      const client = new ScramClient(secret, { clientNonce: RFC.clientNonce, user: 'user' });
      assert.equal(client.first(), RFC.clientFirst);
      assert.equal(client.final(bytes(RFC.serverFirst)), RFC.clientFinal);
      assert.equal(client.verify(bytes(RFC.serverFinal)), true);
    }
  });

  it('is the example of RFC 7677, on the server side, which recovers ClientKey from the proof', () => {
    const server = rfcServer();
    assert.equal(server.first(bytes(RFC.clientFirst)), RFC.serverFirst);
    const { keys, serverFinal } = server.final(bytes(RFC.clientFinal));
    assert.equal(serverFinal, RFC.serverFinal);
    assert.deepEqual(keys, KEYS);
  });

  it('proves both sides to each other, and neither to a stranger', () => {
    const other = buildScramVerifier('pen', SALT, 4096);
    assert.deepEqual(exchange({ kind: 'password', password: 'pencil' }, VERIFIER), {
      proven: true,
      serverProven: true,
    });
    assert.deepEqual(exchange({ kind: 'scram-keys', ...KEYS }, VERIFIER), {
      proven: true,
      serverProven: true,
    });
    assert.deepEqual(exchange({ kind: 'password', password: 'pencil' }, other), {
      proven: false,
      serverProven: false,
    });
    assert.deepEqual(exchange({ kind: 'scram-keys', ...KEYS }, other), {
      proven: false,
      serverProven: false,
    });
  });

  it('with keys ignores salt and iterations of the server', () => {
    const elsewhere = { ...VERIFIER, salt: Buffer.alloc(16, 1), iterations: 2_000_000_000 };
    assert.deepEqual(exchange({ kind: 'scram-keys', ...KEYS }, elsewhere), {
      proven: true,
      serverProven: true,
    });
  });

  it('with a password refuses iterations that would keep the process busy', () => {
    const client = new ScramClient({ kind: 'password', password: 'x' }, { clientNonce: 'abc' });
    client.first();
    assert.throws(() => client.final(bytes('r=abcd,s=AAAA,i=2000000000')), isViolation);
  });

  it('fails for a user that does not exist, after every step, and with the same salt each time', () => {
    const secrets = new LoginSecrets(Buffer.alloc(32, 5));
    const salts = [1, 2].map(() => {
      const client = new ScramClient({ kind: 'password', password: 'x' });
      const server = new ScramServer(secrets.mockVerifier('nobody'), { doomed: true });
      const first = server.first(bytes(client.first()));
      assert.equal(server.final(bytes(client.final(bytes(first)))).keys, null);
      return /s=([^,]+)/.exec(first)?.[1];
    });
    assert.equal(salts[0], salts[1]);
    assert.notDeepEqual(secrets.mockVerifier('nobody').salt, secrets.mockVerifier('somebody').salt);
    assert.notDeepEqual(secrets.mockVerifier('nobody').salt, new LoginSecrets().mockVerifier('nobody').salt);
  });

  it('takes the flags "n" and "y"', () => {
    for (const [flag, binding] of [
      ['n', 'biws'],
      ['y', 'eSws'],
    ] as const) {
      const server = rfcServer();
      server.first(bytes(`${flag},,n=,r=abc`));
      const proof = Buffer.alloc(32).toString('base64');
      const result = server.final(bytes(`c=${binding},r=abc${RFC.serverNonce},p=${proof}`));
      assert.equal(result.keys, null);
    }
  });
});

describe('SCRAM server refuses', () => {
  const firsts: Record<string, string> = {
    'channel binding': 'p=tls-server-end-point,,n=,r=abc',
    'an authorization identity': 'n,a=root,n=,r=abc',
    'a mandatory extension': 'n,,m=x,n=,r=abc',
    'no nonce': 'n,,n=user',
    'an empty nonce': 'n,,n=,r=',
    'a nonce that is not printable': 'n,,n=,r=a\x01b',
    'an unknown flag': 'x,,n=,r=abc',
    nothing: '',
    'a zero byte': 'n,,n=,r=abc\0',
  };
  for (const [name, text] of Object.entries(firsts)) {
    it(name, () => assert.throws(() => rfcServer().first(bytes(text)), isViolation));
  }

  const nonce = RFC.clientNonce + RFC.serverNonce;
  const proof = RFC.clientFinal.slice(RFC.clientFinal.indexOf(',p=') + 3);
  const finals: Record<string, string> = {
    'another channel binding than before': `c=eSws,r=${nonce},p=${proof}`,
    'another nonce': `c=biws,r=${nonce}x,p=${proof}`,
    'no proof': `c=biws,r=${nonce}`,
    'a short proof': `c=biws,r=${nonce},p=AAAA`,
    'a proof in another spelling': `c=biws,r=${nonce},p=${proof.replace('=', '')}`,
    'no binding': `r=${nonce},p=${proof}`,
  };
  for (const [name, text] of Object.entries(finals)) {
    it(name, () => {
      const server = rfcServer();
      server.first(bytes(RFC.clientFirst));
      assert.throws(() => server.final(bytes(text)), isViolation);
    });
  }

  it('messages out of turn', () => {
    assert.throws(() => rfcServer().final(bytes(RFC.clientFinal)), isViolation);
    const server = rfcServer();
    server.first(bytes(RFC.clientFirst));
    assert.throws(() => server.first(bytes(RFC.clientFirst)), isViolation);
  });

  it('a proof for other extensions than were sent', () => {
    const server = rfcServer();
    server.first(bytes(RFC.clientFirst));
    assert.equal(server.final(bytes(`c=biws,r=${nonce},x=1,p=${proof}`)).keys, null);
  });
});

describe('SCRAM client refuses', () => {
  const cases: Record<string, string> = {
    "a nonce that is not the client's": 'r=zzz,s=AAAA,i=4096',
    'a nonce without a part of the server': 'r=abc,s=AAAA,i=4096',
    'no salt': 'r=abcd,i=4096',
    'an empty salt': 'r=abcd,s=,i=4096',
    'a salt that is not base64': 'r=abcd,s=!!,i=4096',
    'no iterations': 'r=abcd,s=AAAA,i=0',
    'iterations that are no number': 'r=abcd,s=AAAA,i=4e3',
    'an extension': 'm=x,r=abcd,s=AAAA,i=4096',
  };
  for (const [name, text] of Object.entries(cases)) {
    it(name, () => {
      const client = new ScramClient({ kind: 'scram-keys', ...KEYS }, { clientNonce: 'abc' });
      client.first();
      assert.throws(() => client.final(bytes(text)), isViolation);
    });
  }

  it('a server that reports an error or has another key', () => {
    for (const final of ['e=other-error', `v=${Buffer.alloc(32).toString('base64')}`]) {
      const client = new ScramClient({ kind: 'scram-keys', ...KEYS }, { clientNonce: RFC.clientNonce });
      client.first();
      client.final(bytes(RFC.serverFirst));
      assert.equal(client.verify(bytes(final)), false);
    }
  });
});

describe('SCRAM verifier', () => {
  it('is read and written in the notation of pg_authid', () => {
    const text = formatScramVerifier(VERIFIER);
    assert.match(text, /^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[^:]+=:[^:]+=$/);
    assert.deepEqual(parseScramVerifier(text), VERIFIER);
  });

  it('is nothing else', () => {
    const text = formatScramVerifier(VERIFIER);
    for (const bad of [
      '',
      'md5d41d8cd98f00b204e9800998ecf8427e',
      text.slice(0, -1),
      `${text}x`,
      text.replace('4096', '0'),
      text.replace('4096', '-1'),
      text.replace('SHA-256', 'SHA-1'),
      'SCRAM-SHA-256$4096:AAAA$AAAA:AAAA',
    ]) {
      assert.equal(parseScramVerifier(bad), null, bad);
    }
  });
});

describe('login secrets', () => {
  it('remember derived keys, by password, salt and iterations', () => {
    const secrets = new LoginSecrets();
    assert.deepEqual(secrets.deriveKeys('pencil', SALT, 4096), KEYS);
    assert.equal(secrets.deriveKeys('pencil', SALT, 4096), secrets.deriveKeys('pencil', SALT, 4096));
    assert.notDeepEqual(secrets.deriveKeys('pencil', SALT, 4097), KEYS);
    assert.notDeepEqual(secrets.deriveKeys('pencil2', SALT, 4096), KEYS);
  });
});
