// Server connections' sockets whose buffer is read into again: what was passed on to clients is what they read, fast or slow, and
// a chunk that somebody keeps is never written to.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { ReplyWriter } from '../../src/lib/reply-writer.js';
import { ownServerSocket } from '../../src/lib/server-socket.js';
import { until } from '../servers/poll.js';
import { SocketPairs } from './socket-pairs.js';

const LIMIT_BYTES = 262_144;

describe('sockets of server connections', () => {
  let pairs: SocketPairs;
  before(async () => {
    pairs = await SocketPairs.listen();
  });
  after(() => pairs.close());

  async function pair(): Promise<{ far: Socket; near: Socket }> {
    const { connected, accepted } = await pairs.open();
    return { far: accepted, near: connected };
  }

  /** Numbers in a row: a byte that is read twice, or is another's, is seen. */
  const numbers = (from: number, count: number): Buffer => {
    const bytes = Buffer.allocUnsafe(count * 4);
    for (let i = 0; i < count; i++) bytes.writeUInt32BE((from + i) >>> 0, i * 4);
    return bytes;
  };

  /** A node's socket whose bytes go to a client; like the data path, it pauses while the client does not keep up. */
  async function relay(hold: (bytes: number) => boolean) {
    const node = await pair();
    const client = await pair();
    const writer = new ReplyWriter(client.near, LIMIT_BYTES);
    const seen = { bytes: 0, reused: 0, chunks: new Set<ArrayBufferLike>(), ended: false };
    // It has been read before, by the login.
    node.near.on('data', () => {});
    node.near.removeAllListeners('data');
    const reading = ownServerSocket(
      node.near,
      (chunk) => {
        seen.bytes += chunk.length;
        if (hold(seen.bytes)) writer.hold();
        else writer.release();
        if (!writer.writeAll([chunk.subarray(0, 3), chunk.subarray(3)])) reading.pause();
        if (seen.chunks.has(chunk.buffer)) seen.reused++;
        if (chunk.byteLength >= 8_192) seen.chunks.add(chunk.buffer);
        return writer.isWritten;
      },
      () => {
        seen.ended = true;
        writer.release();
        client.near.end();
      },
    );
    client.near.on('drain', () => reading.resume());
    return { node: node.far, client: client.far, seen };
  }

  async function send(node: Socket, count: number): Promise<string> {
    const hash = createHash('sha256');
    for (let at = 0; at < count; ) {
      const some = Math.min(count - at, 1 + ((at * 7_919) % 30_000));
      const bytes = numbers(at, some);
      hash.update(bytes);
      at += some;
      if (!node.write(bytes)) await once(node, 'drain');
    }
    node.end();
    return hash.digest('hex');
  }

  async function read(client: Socket, isSlow: boolean): Promise<string> {
    const hash = createHash('sha256');
    let chunks = 0;
    for await (const chunk of client) {
      hash.update(chunk as Buffer);
      if (isSlow && chunks++ % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return hash.digest('hex');
  }

  it('pass on what came, to slow and to fast clients at once, also what is kept back for a while', async () => {
    const isHeld = (bytes: number): boolean => Math.floor(bytes / 500_000) % 2 === 1;
    const relays: Awaited<ReturnType<typeof relay>>[] = [];
    for (const hold of [() => false, () => false, isHeld, () => false]) relays.push(await relay(hold));
    const ends = relays.map(async ({ node, client }, i) => {
      const [sent, got] = await Promise.all([send(node, 4_000_000), read(client, i % 2 === 1)]);
      assert.equal(got, sent, `relay ${i}`);
    });
    await Promise.all(ends);
    assert.ok(relays[0]!.seen.reused > 0, 'the same memory is read into again');
    assert.ok(relays.every(({ seen }) => seen.ended));
  });

  it('never touch a chunk that was said to be kept', async () => {
    const { far, near } = await pair();
    const chunks: Buffer[] = [];
    ownServerSocket(
      near,
      (chunk) => {
        chunks.push(chunk);
        return false;
      },
      () => {},
    );
    const sent = await send(far, 1_000_000);
    await until('all is there', () => chunks.reduce((sum, { length }) => sum + length, 0) === 4_000_000);
    assert.equal(createHash('sha256').update(Buffer.concat(chunks)).digest('hex'), sent);
  });

  it('give memory away that was said to be kept after it had not been before', async () => {
    const { far, near } = await pair();
    const kept: Buffer[] = [];
    let bytes = 0;
    ownServerSocket(
      near,
      (chunk) => {
        bytes += chunk.length;
        const keeps = Math.floor(bytes / 300_000) % 2 === 1;
        kept.push(keeps ? chunk : Buffer.from(chunk));
        return !keeps;
      },
      () => {},
    );
    const sent = await send(far, 2_000_000);
    await until('all is there', () => bytes === 8_000_000);
    assert.equal(createHash('sha256').update(Buffer.concat(kept)).digest('hex'), sent);
  });

  it('are read in naps while much comes, and not at all while paused', async () => {
    const { far, near } = await pair();
    const hash = createHash('sha256');
    let bytes = 0;
    let naps = 0;
    let early = 0;
    let isHeld = false;
    const reading = ownServerSocket(
      near,
      (chunk) => {
        assert.ok(!isHeld, 'nothing is read while it is paused');
        hash.update(chunk);
        bytes += chunk.length;
        // Behind what the socket does with the answer to this.
        setImmediate(() => {
          if (!near.isPaused() || reading.isPaused) return;
          naps++;
          if (bytes < 1_048_576) early++;
          if (naps % 5 !== 1) return;
          // While it naps: the end of the nap must not wake it.
          reading.pause();
          isHeld = true;
          setTimeout(() => {
            isHeld = false;
            reading.resume();
          }, 20);
        });
        return true;
      },
      () => {},
    );
    const sent = await send(far, 10_000_000);
    await until('all is there', () => bytes === 40_000_000);
    assert.equal(hash.digest('hex'), sent);
    assert.ok(naps > 0, 'it has napped');
    assert.equal(early, 0, 'not in what is short');
    near.destroy();
  });

  it('tell why the node is lost', async () => {
    const reasons: (string | null)[] = [];
    const listen = (socket: Socket) =>
      ownServerSocket(
        socket,
        () => true,
        (reason) => reasons.push(reason),
      );
    const ended = await pair();
    listen(ended.near);
    ended.far.end();
    await until('its end is told', () => reasons.includes(null));
    const cut = await pair();
    listen(cut.near);
    cut.far.resetAndDestroy();
    await until('the error is told', () => reasons.some((reason) => reason?.includes('ECONNRESET')));
    ended.near.destroy();
  });
});
