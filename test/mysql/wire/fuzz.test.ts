// Garbage into every parser and framer: nothing but a ProxyError comes out, whatever the bytes.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProxyError } from '../../../src/lib/errors.js';
import { parseAuthSwitchRequest } from '../../../src/mysql/wire/auth-packets.js';
import { CAPABILITY, type Capabilities } from '../../../src/mysql/wire/capabilities.js';
import {
  parseChangeUser,
  parseLongData,
  queryTextOffset,
  statementIdOf,
} from '../../../src/mysql/wire/command.js';
import { parseBulkExecute, parseExecute } from '../../../src/mysql/wire/execute.js';
import { PacketFramer } from '../../../src/mysql/wire/framer.js';
import { parseGreeting } from '../../../src/mysql/wire/greeting.js';
import { parseHandshakeResponse } from '../../../src/mysql/wire/handshake-response.js';
import { okStatus, parseEof, parseErr, parseOk } from '../../../src/mysql/wire/ok.js';
import { parsePrepareOk, parseResultSetHead } from '../../../src/mysql/wire/result-set.js';
import { parseSessionChanges } from '../../../src/mysql/wire/session-track.js';

const ALL: Capabilities = { flags: 0xffffffff, mariadb: 0xffffffff };
const NONE: Capabilities = { flags: CAPABILITY.PROTOCOL_41, mariadb: 0 };

const PARSERS: Record<string, (payload: Buffer, capabilities: Capabilities) => unknown> = {
  parseGreeting,
  parseHandshakeResponse,
  parseAuthSwitchRequest,
  parseOk,
  okStatus,
  parseEof,
  parseErr,
  parseSessionChanges,
  parseChangeUser,
  parseLongData,
  statementIdOf,
  queryTextOffset,
  parseResultSetHead,
  parsePrepareOk,
  parseExecute: (payload, capabilities) => parseExecute(payload, 3, capabilities),
  parseBulkExecute: (payload) => parseBulkExecute(payload, 3),
};

/** Mulberry32: the same garbage at every run, named by its seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function garbage(next: () => number): Buffer {
  const bytes = Buffer.alloc(Math.floor(next() * 120));
  // Small values and the marks of the protocol are where parsers go wrong.
  for (let i = 0; i < bytes.length; i++) {
    const kind = next();
    if (kind < 0.3) bytes[i] = Math.floor(next() * 8);
    else if (kind < 0.5) bytes[i] = 0xfa + Math.floor(next() * 6);
    else bytes[i] = Math.floor(next() * 256);
  }
  return bytes;
}

describe('fuzz', () => {
  for (const [name, parse] of Object.entries(PARSERS))
    it(`${name} throws ProxyError or nothing`, () => {
      for (let seed = 0; seed < 5000; seed++) {
        const payload = garbage(random(seed));
        try {
          parse(payload, (seed & 1) === 0 ? ALL : NONE);
        } catch (error) {
          assert.ok(error instanceof ProxyError, `seed ${seed}: ${String(error)}`);
        }
      }
    });

  it('a framer with a limit never holds more than the limit and a chunk', () => {
    for (let seed = 0; seed < 2000; seed++) {
      const next = random(seed);
      const framer = new PacketFramer(1024);
      for (let i = 0; i < 50; i++) {
        framer.push(garbage(next));
        let verb = framer.next();
        while (verb === 'ready') {
          framer.take();
          verb = framer.next();
        }
        if (verb === 'stop') {
          assert.ok(framer.failure instanceof ProxyError);
          break;
        }
        assert.ok(framer.waitingBytes <= 1024 + 120);
      }
    }
  });
});
