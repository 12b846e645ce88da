// Garbage: whatever comes, the framer and the codecs answer, or refuse with a ProxyError; nothing else is ever thrown.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ProxyError } from '../../../src/lib/errors.js';
import * as backend from '../../../src/postgres/wire/backend.js';
import * as own from '../../../src/postgres/wire/backend-messages.js';
import {
  backendLimits,
  Framer,
  frontendLimits,
  loginFrontendLimits,
} from '../../../src/postgres/wire/framer.js';
import * as frontend from '../../../src/postgres/wire/frontend.js';
import {
  buildCancelRequest,
  buildStartupMessage,
  parseStartupPacket,
} from '../../../src/postgres/wire/startup.js';
import { Random } from './random.js';

const LIMIT_BYTES = 64 * 1024;
const ROUNDS = 20_000;

function survives(seed: number, work: () => void): void {
  try {
    work();
  } catch (cause) {
    if (!(cause instanceof ProxyError)) assert.fail(`seed ${seed}: ${String(cause)}`);
  }
}

/** In chunks of random size; what is whole goes to every codec, whichever type it has. */
function feed(framer: Framer, bytes: Buffer, random: Random, seed: number): void {
  let at = 0;
  while (at < bytes.length) {
    const chunk = bytes.subarray(at, at + 1 + random.below(64));
    at += chunk.length;
    framer.push(chunk);
    let answer = framer.next();
    for (; answer === 'ready'; answer = framer.next()) {
      const { buffer, start, end } = framer;
      assert.ok(start >= 0 && start < end && end <= buffer.length, `seed ${seed}`);
      if (!framer.isFirst || !framer.isLast) continue;
      for (const codec of CODECS) survives(seed, () => codec(buffer, start, end));
      framer.expectMessages();
    }
    assert.ok(framer.pendingBytes <= LIMIT_BYTES + 64, `seed ${seed}`);
    if (answer === 'stop') {
      assert.ok(framer.error instanceof ProxyError);
      return;
    }
  }
}

const CODECS: ((buffer: Buffer, start: number, end: number) => unknown)[] = [
  frontend.parseQuery,
  frontend.parseParse,
  frontend.parseDescribe,
  frontend.parseExecute,
  frontend.parseSaslInitialResponse,
  (buffer, start, end) =>
    frontend.renameBind(buffer, start, end, frontend.parseBind(buffer, start, end), 'x'),
  backend.parseReadyForQuery,
  backend.parseCommandComplete,
  backend.parseParameterStatus,
  backend.parseBackendKeyData,
  backend.parseErrorResponse,
  backend.errorCodeOf,
  backend.parseCopyResponse,
  backend.parseNotification,
  backend.parseAuthentication,
  backend.parseNegotiateProtocolVersion,
  parseStartupPacket,
];

const FRONTEND_SEED = Buffer.concat([
  frontend.buildParse('s', 'select $1', [23]),
  frontend.buildBind('', 's', ['1', null]),
  frontend.buildDescribe('portal', ''),
  frontend.buildExecute('', 1),
  frontend.SYNC,
  frontend.buildQuery('select 1'),
]);
const BACKEND_SEED = Buffer.concat([
  own.authenticationSasl(['SCRAM-SHA-256']),
  own.AUTHENTICATION_OK,
  own.parameterStatus('a', 'b'),
  own.backendKeyData(1, Buffer.alloc(32, 1)),
  own.negotiateProtocolVersion(2, ['_pq_.a']),
  own.textResult(['a'], [['1']]),
  own.errorResponse({ severity: 'ERROR', code: '42P01', message: 'm', hint: 'h' }),
  own.readyForQuery('idle'),
]);
const STARTUP_SEED = Buffer.concat([
  buildStartupMessage([
    ['user', 'app'],
    ['options', '-c a=b'],
  ]),
  frontend.buildPassword('secret'),
]);

it('changed streams of an application', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const random = new Random(seed);
    feed(new Framer({ limits: frontendLimits(LIMIT_BYTES) }), random.mutate(FRONTEND_SEED), random, seed);
  }
});

it('changed streams of a node, streamed and not', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const random = new Random(seed);
    const streamAboveBytes = seed % 2 === 0 ? 8 : Number.POSITIVE_INFINITY;
    const limits = backendLimits(LIMIT_BYTES);
    feed(new Framer({ limits, streamAboveBytes }), random.mutate(BACKEND_SEED), random, seed);
  }
});

it('changed startup packets and cancel requests', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const random = new Random(seed);
    const bytes = random.mutate(seed % 3 === 0 ? buildCancelRequest(1, random.bytes(32)) : STARTUP_SEED);
    feed(new Framer({ limits: loginFrontendLimits(), startup: true }), bytes, random, seed);
  }
});

it('random bytes', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const random = new Random(seed);
    feed(new Framer({ limits: frontendLimits(LIMIT_BYTES) }), random.bytes(64), random, seed);
    feed(new Framer({ limits: backendLimits(LIMIT_BYTES) }), random.bytes(64), random, seed);
  }
});
