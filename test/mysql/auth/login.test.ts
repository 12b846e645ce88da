// Both logins against each other: every plugin, every kind of credential, right, wrong, unknown and garbage.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProxyError } from '../../../src/lib/errors.js';
import { newChallenge } from '../../../src/mysql/auth/challenge.js';
import { ClientLogin, type LoginContext, proofForChangeUser } from '../../../src/mysql/auth/client-login.js';
import { nativeScramble, nativeStage1, nativeVerifier } from '../../../src/mysql/auth/native-password.js';
import { PasswordCache } from '../../../src/mysql/auth/password-cache.js';
import { RsaKey } from '../../../src/mysql/auth/rsa-key.js';
import { ServerLogin } from '../../../src/mysql/auth/server-login.js';
import { sha256Crypt } from '../../../src/mysql/auth/sha256-crypt.js';
import { parseAuthSwitchRequest } from '../../../src/mysql/wire/auth-packets.js';
import { PacketWriter } from '../../../src/mysql/wire/bytes.js';
import { CAPABILITY } from '../../../src/mysql/wire/capabilities.js';
import { payloadOf } from '../../../src/mysql/wire/framer.js';
import { buildPlainOk, buildProxyError } from '../../../src/mysql/wire/ok.js';
import type { UserLookup } from '../../../src/protocol/client-connection.js';
import type { Credential } from '../../../src/protocol/credential.js';

const NATIVE = 'mysql_native_password';
const SHA2 = 'caching_sha2_password';
const PASSWORD = 'p\u00e4ss word';
const CAPABILITIES = { flags: 0xdfffffff & ~CAPABILITY.SSL, mariadb: 0 };
const rsa = new RsaKey();

const salt = 'twenty bytes of salt';
const shaVerifier = `$A$005$${salt}${await sha256Crypt(Buffer.from(PASSWORD), Buffer.from(salt), 5000)}`;

const LOOKUPS: Record<string, UserLookup> = {
  configured: { kind: 'password', password: PASSWORD },
  native: { kind: 'verifier', verifier: { method: NATIVE, secret: nativeVerifier(PASSWORD) } },
  sha2: { kind: 'verifier', verifier: { method: SHA2, secret: shaVerifier } },
  empty: { kind: 'password', password: '' },
  'empty-native': { kind: 'verifier', verifier: { method: NATIVE, secret: '' } },
  'empty-sha2': { kind: 'verifier', verifier: { method: SHA2, secret: '' } },
  strange: { kind: 'verifier', verifier: { method: 'auth_gssapi', secret: '' } },
};

function context(defaultPlugin: string, passwords = new PasswordCache()): LoginContext {
  return {
    lookUpUser: async (user) => LOOKUPS[user] ?? { kind: 'unknown' },
    rsa,
    passwords,
    defaultPlugin,
    trust: false,
    secure: false,
  };
}

interface Run {
  readonly credential: Credential;
  readonly packets: number;
}

/** The application is our own login to a node: what it is given is what it proves itself with. */
async function logIn(user: string, credential: Credential, loginContext: LoginContext): Promise<Run> {
  const server = new ClientLogin(
    { serverVersion: '9.7.1', connectionId: 1, capabilities: CAPABILITIES, collation: 255, status: 2 },
    loginContext,
  );
  const client = new ServerLogin({
    node: 'proxy',
    user,
    credential,
    database: 'shop',
    keyed: { flags: CAPABILITY.DEPRECATE_EOF, mariadb: 0 },
    collation: 255,
    attributes: new Map([['program_name', 'test']]),
    maxPacketBytes: 1 << 24,
    secure: false,
  });
  let packets = 1;
  let frame = server.greeting();
  for (;;) {
    const answer = client.receive(payloadOf(frame), frame[3]!);
    if (answer.kind === 'wait') throw new Error('nothing follows');
    if (answer.kind === 'done') throw new Error('done too early');
    packets += 2;
    const step = await server.receive(payloadOf(answer.bytes), answer.bytes[3]!);
    if (step.kind === 'send') {
      frame = step.bytes;
      continue;
    }
    assert.equal(step.response.user, user);
    assert.equal(step.response.database, 'shop');
    assert.equal(step.response.attributes.get('program_name'), 'test');
    if (step.bytes !== null) assert.equal(client.receive(payloadOf(step.bytes), step.bytes[3]!).kind, 'wait');
    const ok = buildPlainOk(2, step.capabilities, step.sequence);
    assert.equal(client.receive(payloadOf(ok), ok[3]!).kind, 'done');
    return { credential: step.credential, packets };
  }
}

const failsWith = (code: string) => (error: unknown) => error instanceof ProxyError && error.code === code;
const known: Credential = { kind: 'password', password: PASSWORD };

describe('logins', () => {
  for (const plugin of [NATIVE, SHA2]) {
    it(`a configured user comes in by ${plugin}`, async () => {
      const run = await logIn('configured', known, context(plugin));
      assert.deepEqual(run.credential, { kind: 'password', password: PASSWORD });
    });

    it(`a stored native hash gives SHA1(password); the server says ${plugin} first`, async () => {
      const run = await logIn('native', known, context(plugin));
      assert.deepEqual(run.credential, { kind: 'native-stage1', stage1: nativeStage1(PASSWORD) });
      // And that is enough to come in again.
      const again = await logIn('native', run.credential, context(plugin));
      assert.deepEqual(again.credential, run.credential);
    });

    it(`a stored SHA-256-crypt gives the password, first in full, then fast; the server says ${plugin} first`, async () => {
      const cache = new PasswordCache();
      const full = await logIn('sha2', known, context(plugin, cache));
      assert.deepEqual(full.credential, known);
      const fast = await logIn('sha2', known, context(plugin, cache));
      assert.deepEqual(fast.credential, known);
      assert.equal(full.packets - fast.packets, 4);
    });

    for (const user of ['empty', 'empty-native', 'empty-sha2'])
      it(`an empty password is a password: ${user}, ${plugin}`, async () => {
        const none: Credential = { kind: 'password', password: '' };
        assert.deepEqual((await logIn(user, none, context(plugin))).credential, none);
        await assert.rejects(logIn(user, known, context(plugin)), failsWith('authentication-failed'));
      });

    for (const user of ['configured', 'native', 'sha2', 'nobody'])
      for (const password of ['wrong', ''])
        it(`"${password}" is refused for ${user}, ${plugin}`, async () => {
          await assert.rejects(
            logIn(user, { kind: 'password', password }, context(plugin)),
            failsWith('authentication-failed'),
          );
        });

    it(`an unknown user takes the same packets as a wrong password, ${plugin}`, async () => {
      const trace = async (user: string): Promise<string> => {
        const server = new ClientLogin(
          { serverVersion: '9.7.1', connectionId: 1, capabilities: CAPABILITIES, collation: 45, status: 2 },
          context(plugin),
        );
        const client = new ServerLogin({
          node: 'proxy',
          user,
          credential: { kind: 'password', password: 'wrong' },
          database: null,
          keyed: { flags: 0, mariadb: 0 },
          collation: 45,
          attributes: new Map(),
          maxPacketBytes: 1 << 24,
          secure: false,
        });
        let frame = server.greeting();
        const seen: string[] = [];
        try {
          for (;;) {
            const answer = client.receive(payloadOf(frame), frame[3]!);
            if (answer.kind !== 'send') return 'in';
            const step = await server.receive(payloadOf(answer.bytes), answer.bytes[3]!);
            if (step.kind !== 'send') return 'in';
            frame = step.bytes;
            seen.push(`${frame.length > 100 ? 'key' : frame.toString('hex', 3, 6)}`);
          }
        } catch (error) {
          assert.ok(error instanceof ProxyError);
          return `${seen.join(' ')} ${error.message.replace(user, 'USER')} ${server.errorSequence}`;
        }
      };
      assert.equal(await trace('nobody'), await trace(plugin === NATIVE ? 'native' : 'sha2'));
    });
  }

  it('a changed password is not let in by the cache', async () => {
    const cache = new PasswordCache();
    cache.put('sha2', 'the verifier of before', PASSWORD);
    const run = await logIn('sha2', known, context(SHA2, cache));
    assert.equal(run.packets, 7);
    assert.equal(cache.size, 1);
  });

  it('many that come at once with one password wait for one check, and nobody else is let in by it', async () => {
    const cache = new PasswordCache();
    let checks = 0;
    const check = (password: string) =>
      cache.check('sha2', 'v', password, async () => {
        checks++;
        await new Promise((resolve) => setImmediate(resolve));
        return password === PASSWORD;
      });
    const passwords = [PASSWORD, 'wrong', PASSWORD, 'wrong', PASSWORD];
    assert.deepEqual(await Promise.all(passwords.map(check)), [true, false, true, false, true]);
    assert.equal(checks, 2);
    assert.equal(await check(PASSWORD), true);
    assert.equal(checks, 2);
    assert.equal(await check('wrong'), false);
    assert.equal(await cache.check('sha2', 'another verifier', PASSWORD, async () => false), false);
    assert.equal(checks, 3);
  });

  it('the cache is bounded and forgets the least recently used', () => {
    const cache = new PasswordCache(2);
    cache.put('a', 'v', '1');
    cache.put('b', 'v', '2');
    cache.get('a', 'v');
    cache.put('c', 'v', '3');
    assert.equal(cache.get('b', 'v'), null);
    assert.equal(cache.get('a', 'v')?.password, '1');
  });

  it('a plugin that nobody can check says so', async () => {
    await assert.rejects(logIn('strange', known, context(NATIVE)), failsWith('authentication-unavailable'));
  });

  it('SHA1(password) cannot prove anything to caching_sha2_password, and says so', async () => {
    const credential: Credential = { kind: 'native-stage1', stage1: nativeStage1(PASSWORD) };
    await assert.rejects(logIn('sha2', credential, context(SHA2)), failsWith('server-login-failed'));
  });

  it('trust asks for nothing and knows nothing', async () => {
    const run = await logIn(
      'nobody',
      { kind: 'password', password: 'x' },
      { ...context(NATIVE), trust: true },
    );
    assert.deepEqual(run.credential, { kind: 'none' });
  });

  it('COM_CHANGE_USER is always asked, with the same challenge', async () => {
    const change = {
      user: 'native',
      authResponse: Buffer.alloc(20),
      database: null,
      collation: null,
      plugin: NATIVE,
      attributes: new Map(),
    };
    const challenge = newChallenge();
    const start = async () => {
      const proof = proofForChangeUser(change, CAPABILITIES, challenge, context(NATIVE));
      const step = await proof.start('', null);
      assert.ok(step.kind === 'send');
      assert.deepEqual(parseAuthSwitchRequest(payloadOf(step.bytes)).scramble, challenge);
      return proof;
    };
    const answer = nativeScramble(nativeStage1(PASSWORD), challenge);
    assert.equal((await (await start()).receive(answer, 2)).kind, 'done');
    const wrong = (await start()).receive(Buffer.alloc(20), 2);
    await assert.rejects(wrong, failsWith('authentication-failed'));
  });

  it('packets out of sequence end the login', async () => {
    const server = new ClientLogin(
      { serverVersion: '9.7.1', connectionId: 1, capabilities: CAPABILITIES, collation: 45, status: 2 },
      context(NATIVE),
    );
    await assert.rejects(async () => server.receive(Buffer.alloc(40), 3), failsWith('protocol-violation'));
  });
});

describe('a node that answers', () => {
  const login = (): ServerLogin =>
    new ServerLogin({
      node: 'n1',
      user: 'u',
      credential: known,
      database: 'd',
      keyed: { flags: 0, mariadb: 0 },
      collation: 45,
      attributes: new Map(),
      maxPacketBytes: 1 << 24,
      secure: false,
    });

  it('"too many connections" instead of a greeting is not a refused login', () => {
    const err = Buffer.from('\xff\x10\x04Too many connections', 'latin1');
    assert.throws(() => login().receive(err, 0), failsWith('node-full'));
  });

  it('asks for the password in clear gets none', async () => {
    const client = login();
    const server = new ClientLogin(
      { serverVersion: '9.7.1', connectionId: 1, capabilities: CAPABILITIES, collation: 45, status: 2 },
      context(NATIVE),
    );
    client.receive(payloadOf(server.greeting()), 0);
    const request = new PacketWriter().u8(0xfe).nulText('mysql_clear_password').payload();
    assert.throws(() => client.receive(request, 2), failsWith('server-login-failed'));
  });

  it('an unknown database is named', () => {
    const client = login();
    const server = new ClientLogin(
      { serverVersion: '9.7.1', connectionId: 1, capabilities: CAPABILITIES, collation: 45, status: 2 },
      context(NATIVE),
    );
    client.receive(payloadOf(server.greeting()), 0);
    const err = buildProxyError(new ProxyError('unknown-database', { detail: "Unknown database 'd'" }), 2);
    assert.throws(() => client.receive(payloadOf(err), 2), failsWith('unknown-database'));
  });

  it("garbage is the node's fault, whatever it is", () => {
    for (let length = 0; length < 90; length++)
      for (const fill of [0, 1, 10, 0x7f, 0xfe]) {
        const client = login();
        try {
          client.receive(Buffer.alloc(length, fill), 0);
        } catch (error) {
          assert.ok(failsWith('server-garbage')(error), String(error));
        }
      }
  });
});
