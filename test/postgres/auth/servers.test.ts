// Both logins against the real thing: PostgreSQL 15 and 18 as the node; psql, pg and postgres as the application.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import postgres from 'postgres';
import { ProxyError } from '../../../src/lib/errors.js';
import {
  ClientLogin,
  type ClientLoginMethod,
  type ClientLoginStep,
} from '../../../src/postgres/auth/client-login.js';
import {
  buildScramVerifier,
  formatScramVerifier,
  parseScramVerifier,
} from '../../../src/postgres/auth/scram.js';
import { ServerLogin, type ServerSession } from '../../../src/postgres/auth/server-login.js';
import { BACKEND, parseErrorResponse } from '../../../src/postgres/wire/backend.js';
import {
  backendKeyData,
  ENCRYPTION_REFUSED,
  parameterStatus,
  proxyErrorResponse,
  readyForQuery,
  textResult,
} from '../../../src/postgres/wire/backend-messages.js';
import {
  backendLimits,
  Framer,
  frontendLimits,
  loginFrontendLimits,
} from '../../../src/postgres/wire/framer.js';
import { buildQuery, FRONTEND, TERMINATE } from '../../../src/postgres/wire/frontend.js';
import { buildCancelRequest, parseStartupPacket } from '../../../src/postgres/wire/startup.js';
import type { UserLookup } from '../../../src/protocol/client-connection.js';
import type { Credential } from '../../../src/protocol/credential.js';
import { available, skipWithout } from '../../servers/available.js';
import { startCluster, type TestCluster } from '../../servers/cluster.js';
import { talk } from './talk.js';

interface LoggedIn {
  readonly session: ServerSession;
  readonly socket: Socket;
  readonly framer: Framer;
}

interface LoginOptions {
  readonly user: string;
  readonly credential: Credential;
  readonly database?: string;
  readonly minor?: number;
}

/** Logs in over a socket; rejects with the ProxyError of the login. */
function logIn(port: number, options: LoginOptions): Promise<LoggedIn> {
  const login = new ServerLogin({ node: 'n1', database: 'app', ...options });
  const framer = new Framer({ limits: backendLimits(100_000) });
  const socket = connect(port, '127.0.0.1', () => socket.write(login.start()));
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('closed in the middle of the login')));
    const onData = (chunk: Buffer): void => {
      framer.push(chunk);
      let answer = framer.next();
      for (; answer === 'ready'; answer = framer.next()) {
        const step = login.message(framer.type, framer.buffer, framer.start, framer.end);
        if (step.kind === 'failed') {
          fail(step.error);
          return;
        }
        if (step.kind === 'ready') {
          socket.off('data', onData);
          resolve({ session: step.session, socket, framer });
          return;
        }
        if (step.send !== null) socket.write(step.send);
      }
      if (answer === 'stop') fail(framer.error!);
    };
    socket.on('data', onData);
  });
}

/** The types of the messages up to ReadyForQuery, and the SQLSTATE of an error among them. */
function runQuery(
  { socket, framer }: LoggedIn,
  text: string,
): Promise<{ types: string; code: string | null }> {
  return new Promise((resolve) => {
    let types = '';
    let code: string | null = null;
    const onData = (chunk: Buffer): void => {
      framer.push(chunk);
      while (framer.next() === 'ready') {
        types += String.fromCharCode(framer.type);
        const { type, buffer, start, end } = framer;
        if (type === BACKEND.errorResponse) code = parseErrorResponse(buffer, start, end).code;
        if (type !== BACKEND.readyForQuery) continue;
        socket.off('data', onData);
        resolve({ types, code });
      }
    };
    socket.on('data', onData);
    socket.write(buildQuery(text));
  });
}

async function logInAndOut(port: number, options: LoginOptions): Promise<ServerSession> {
  const loggedIn = await logIn(port, options);
  assert.equal((await runQuery(loggedIn, 'select 1')).types, 'TDCZ');
  loggedIn.socket.end(TERMINATE);
  return loggedIn.session;
}

async function errorOf(attempt: Promise<unknown>): Promise<ProxyError> {
  const error = await attempt.then(
    () => assert.fail('the login succeeded'),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof ProxyError, String(error));
  return error;
}

for (const version of [15, 18]) {
  describe(`login to PostgreSQL ${version}`, { skip: skipWithout(available('postgres', version)) }, () => {
    let cluster: TestCluster;
    let port = 0;
    before(async () => {
      cluster = await startCluster('postgres', { version, replicas: 1 });
      port = cluster.primary.port;
    });
    after(() => cluster?.stop());

    const stored = async (user: string): Promise<string> => {
      const rows = await cluster.primary.admin(`SELECT rolpassword FROM pg_authid WHERE rolname = '${user}'`);
      return String(rows[0]?.rolpassword);
    };

    for (const user of ['app', 'app_md5', 'app_plain', 'app_trust']) {
      it(`as ${user} by password`, async () => {
        const { password } = cluster.users[user] ?? cluster.user;
        const session = await logInAndOut(port, { user, credential: { kind: 'password', password } });
        assert.match(session.parameters.get('server_version') ?? '', new RegExp(`^${version}`));
        assert.equal(session.backendKey?.secretKey.length, 4);
      });
    }

    it('as app by keys recovered from its proof, on the primary and on a replica', async () => {
      const { user, password } = cluster.user;
      const lookup: UserLookup = {
        kind: 'verifier',
        verifier: { method: 'scram-sha-256', secret: await stored(user) },
      };
      const { accepting } = talk(
        { method: 'auto', lookup },
        { credential: { kind: 'password', password } },
        user,
      );
      assert.ok(accepting.kind === 'authenticated');
      assert.equal(accepting.credential.kind, 'scram-keys');
      for (const node of cluster.nodes)
        await logInAndOut(node.port, { user, credential: accepting.credential });
    });

    it('as app_md5 by the stored hash', async () => {
      await logInAndOut(port, {
        user: 'app_md5',
        credential: { kind: 'md5', hash: await stored('app_md5') },
      });
    });

    it('is refused with the error that fits', async () => {
      const { user, password } = cluster.user;
      const credential: Credential = { kind: 'password', password };
      const wrong = await errorOf(logIn(port, { user, credential: { kind: 'password', password: 'wrong' } }));
      assert.equal(wrong.code, 'login-refused');
      assert.equal(wrong.sqlState, '28P01');
      const database = await errorOf(logIn(port, { user, credential, database: 'nowhere' }));
      assert.equal(database.code, 'unknown-database');
      const keys: Credential = {
        kind: 'scram-keys',
        clientKey: Buffer.alloc(32),
        serverKey: Buffer.alloc(32),
      };
      assert.equal((await errorOf(logIn(port, { user, credential: keys }))).sqlState, '28P01');
      assert.match(
        (await errorOf(logIn(port, { user: 'app_plain', credential: keys }))).message,
        /asks for the cleartext password/,
      );
    });

    it('our verifier is the one that the server makes, also of passwords that SASLprep changes or refuses', async () => {
      const passwords = [
        'pencil',
        'I\u00adX\u2168',
        'pass\u00a0w\u00f6rd',
        'e\u0301',
        '\u{1f600}\u2168',
        '\u06271',
        '\u00ad',
      ];
      for (const password of passwords) {
        await cluster.primary.admin(`SET password_encryption = 'scram-sha-256';
          DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN PASSWORD '${password}'`);
        const text = await stored('odd');
        const verifier = parseScramVerifier(text);
        assert.ok(verifier !== null);
        const ours = buildScramVerifier(password, verifier.salt, verifier.iterations);
        assert.equal(formatScramVerifier(ours), text, JSON.stringify(password));
        await logInAndOut(port, { user: 'odd', database: 'app', credential: { kind: 'password', password } });
      }
    });

    it('speaks 3.2 where the node does, and cancels with its key', async () => {
      const { user, password } = cluster.user;
      const loggedIn = await logIn(port, { user, credential: { kind: 'password', password }, minor: 2 });
      const { minor, backendKey } = loggedIn.session;
      assert.equal(minor, version >= 18 ? 2 : 0);
      assert.ok(backendKey !== null);
      assert.equal(backendKey.secretKey.length, version >= 18 ? 32 : 4);
      const sleeping = runQuery(loggedIn, 'select pg_sleep(60)');
      // A cancel that comes before the query is without effect: until it has one.
      const repeat = setInterval(() => {
        const cancel = connect(port, '127.0.0.1', () =>
          cancel.end(buildCancelRequest(backendKey.processId, backendKey.secretKey)),
        );
        cancel.on('error', () => {});
      }, 100);
      const { code } = await sleeping;
      clearInterval(repeat);
      assert.equal(code, '57014');
      loggedIn.socket.end(TERMINATE);
    });
  });
}

/** Logs clients in by `method` and answers every simple query with one row; what it found is in `ends`. */
async function acceptor(method: ClientLoginMethod, lookUp: (user: string) => UserLookup) {
  const ends: ClientLoginStep[] = [];
  const server = createServer((socket) => {
    const framer = new Framer({ limits: loginFrontendLimits(), startup: true });
    let login: ClientLogin | null = null;
    let loggedIn = false;
    const answer = (step: ClientLoginStep): void => {
      if (step.kind !== 'continue') ends.push(step);
      if (step.kind === 'failed') return void socket.end(proxyErrorResponse(step.error));
      socket.write(step.send);
      if (step.kind !== 'authenticated') return;
      loggedIn = true;
      framer.setLimits(frontendLimits(100_000));
      socket.write(parameterStatus('server_version', '15.0'));
      socket.write(parameterStatus('client_encoding', 'UTF8'));
      socket.write(backendKeyData(1, Buffer.alloc(4, 1)));
      socket.write(readyForQuery('idle'));
    };
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      framer.push(chunk);
      while (framer.next() === 'ready') {
        const { type, buffer, start, end } = framer;
        if (loggedIn) {
          if (type === FRONTEND.query)
            socket.write(Buffer.concat([textResult(['answer'], [['42']]), readyForQuery('idle')]));
          else if (type === FRONTEND.terminate) socket.end();
          continue;
        }
        if (login !== null) {
          answer(login.message(type, buffer, start, end));
          continue;
        }
        const packet = parseStartupPacket(buffer, start, end);
        if (packet.kind !== 'startup') {
          socket.write(ENCRYPTION_REFUSED);
          continue;
        }
        framer.expectMessages();
        login = new ClientLogin({ method, user: packet.user, lookup: lookUp(packet.user) });
        answer(login.start());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, ends, close: () => server.close() };
}

const PASSWORD = 'p\u00e4ss\u00a0w\u2168';
const CLIENTS: Record<string, (port: number, password: string) => Promise<string>> = {
  pg: async (port, password) => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'app', password, database: 'app' });
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query('select 1');
    await client.end();
    return String(rows[0]?.answer);
  },
  // It does not prepare passwords by SASLprep: given what the others make of it.
  postgres: async (port, password) => {
    const prepared = password === PASSWORD ? 'p\u00e4ss wIX' : password;
    const sql = postgres({
      host: '127.0.0.1',
      port,
      user: 'app',
      password: prepared,
      database: 'app',
      max: 1,
      fetch_types: false,
    });
    try {
      const rows = await sql.unsafe('select 1').simple();
      return String(rows[0]?.answer);
    } finally {
      await sql.end({ timeout: 1 });
    }
  },
  psql: async (port, password) => {
    const { stdout } = await promisify(execFile)(
      '/usr/lib/postgresql/15/bin/psql',
      ['-h', '127.0.0.1', '-p', String(port), '-U', 'app', '-d', 'app', '-XAtc', 'select 1'],
      { env: { ...process.env, PGPASSWORD: password, PGCLIENTENCODING: 'UTF8' } },
    );
    return stdout.trim();
  },
};

const verifier: UserLookup = {
  kind: 'verifier',
  verifier: { method: 'scram-sha-256', secret: formatScramVerifier(buildScramVerifier(PASSWORD)) },
};
// Only SCRAM prepares a password: `postgres`, which has no SASLprep, is tested with SCRAM and with plain letters.
const METHODS: [method: ClientLoginMethod, lookup: UserLookup, password: string, credential: string][] = [
  ['auto', verifier, PASSWORD, 'scram-keys'],
  ['auto', { kind: 'password', password: PASSWORD }, PASSWORD, 'password'],
  ['md5', { kind: 'password', password: 'letters' }, 'letters', 'password'],
  ['password', { kind: 'password', password: 'letters' }, 'letters', 'password'],
  ['password', verifier, PASSWORD, 'password'],
  ['trust', { kind: 'unknown' }, '', 'none'],
];

for (const [name, run] of Object.entries(CLIENTS)) {
  const skip = name === 'psql' && skipWithout(available('postgres', 15));
  describe(`${name} logs in`, { skip }, () => {
    for (const [method, lookup, password, credential] of METHODS) {
      it(`by ${method} against ${lookup.kind}`, async (t) => {
        const { port, ends, close } = await acceptor(method, () => lookup);
        t.after(close);
        assert.equal(await run(port, password), '42');
        assert.equal(ends.length, 1);
        assert.ok(ends[0]?.kind === 'authenticated');
        assert.equal(ends[0].credential.kind, credential);
      });

      if (method === 'trust') continue;
      it(`not with a wrong password by ${method} against ${lookup.kind}`, async (t) => {
        const { port, ends, close } = await acceptor(method, () => lookup);
        t.after(close);
        await assert.rejects(run(port, 'wrong'), /password authentication failed for user "app"/);
        assert.equal(ends[0]?.kind, 'failed');
      });
    }
  });
}
