// Writes past Node's streams: what is read at the other end is what was written, in its order, however slowly it is read.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hangUp, writeTogether } from '../../src/lib/batched-writer.js';
import { isAllSent, writeNow } from '../../src/lib/direct-write.js';
import { until } from '../servers/poll.js';
import { SocketPairs } from './socket-pairs.js';

/** More than the kernel keeps for who does not read. */
const MUCH = 30_000_000;

describe('direct writes', () => {
  let pairs: SocketPairs;
  before(async () => {
    pairs = await SocketPairs.listen();
    // The first one shows how Node does it.
    const { socket } = await pair();
    writeNow(socket, Buffer.from('first'));
    socket.destroy();
  });
  after(() => pairs.close());

  async function pair(): Promise<{ socket: Socket; reader: Socket }> {
    const { connected, accepted } = await pairs.open();
    return { socket: accepted, reader: connected };
  }

  /** How often Node's stream is asked to write. */
  function countWrites(socket: Socket): { count: number } {
    const writes = { count: 0 };
    const stream = socket as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const name of ['_write', '_writev']) {
      const original = stream[name]!;
      stream[name] = (...args) => {
        writes.count++;
        return original.apply(socket, args);
      };
    }
    return writes;
  }

  async function readAll(
    reader: Socket,
    pause: () => Promise<void>,
  ): Promise<{ bytes: number; hash: string }> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of reader) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      await pause();
    }
    return { bytes, hash: hash.digest('hex') };
  }

  it('end no process where the rest of one goes out at once, behind what the kernel took in parts', async (t) => {
    const MEGABYTES = 3_000;
    // Somebody who reads at the same time, on another processor.
    let read = 0;
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', ({ length }) => {
        read += length;
      });
    });
    t.after(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const flood = fileURLToPath(new URL('direct-write-flood.js', import.meta.url));
    const child = spawn(process.execPath, [flood, String(port), String(MEGABYTES)], { stdio: 'inherit' });
    const [code, signal] = await once(child, 'exit');
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
    const all = MEGABYTES * 1_000_000 + 'first'.length;
    await until('all of it is read', () => read === all);
  });

  it('are past the stream on this Node', async () => {
    const { socket, reader } = await pair();
    const writes = countWrites(socket);
    for (const text of ['a', 'bc', 'd']) assert.equal(writeNow(socket, Buffer.from(text)), true);
    assert.equal(isAllSent(socket), true);
    hangUp(socket);
    const texts: string[] = [];
    for await (const chunk of reader) texts.push(String(chunk));
    assert.equal(texts.join(''), 'abcd');
    assert.equal(writes.count, 0);
    assert.equal(socket.bytesWritten, 4);
  });

  it('keep their order among writes of the stream, small and large, to slow and to fast readers', async () => {
    const all: Awaited<ReturnType<typeof pair>>[] = [];
    for (let i = 0; i < 4; i++) all.push(await pair());
    const reading = all.map(async ({ socket, reader }, i) => {
      const slow = i % 2 === 0;
      let reads = 0;
      const pause = async (): Promise<void> => {
        if (slow && reads++ % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
      };
      const sent = createHash('sha256');
      let bytes = 0;
      const read = readAll(reader, pause);
      for (let n = 0; n < 3_000; n++) {
        const size = n % 97 === 0 ? 400_000 : 1 + ((n * 7_919) % 900);
        const chunk = Buffer.alloc(size, `${i}:${n};`);
        sent.update(chunk);
        bytes += size;
        if (n % 11 === 0) socket.write(chunk);
        else if (n % 13 === 0)
          writeTogether(socket, [chunk.subarray(0, size >> 1), chunk.subarray(size >> 1)]);
        else writeNow(socket, chunk);
        if (n % 5 === 0) await new Promise(setImmediate);
        if (socket.writableNeedDrain) await once(socket, 'drain');
      }
      hangUp(socket);
      assert.deepEqual(await read, { bytes, hash: sent.digest('hex') }, `reader ${i}`);
    });
    await Promise.all(reading);
  });

  it('tell that not everything is with the kernel, until it is', async () => {
    const { socket, reader } = await pair();
    reader.pause();
    writeNow(socket, Buffer.alloc(MUCH, 'x'));
    assert.equal(socket.writableLength, 0, 'the stream knows nothing of it');
    assert.equal(isAllSent(socket), false);
    writeNow(socket, Buffer.from('y'));
    assert.equal(socket.writableLength, 1, 'what follows waits in the stream');
    const read = readAll(reader, async () => {});
    await until('everything is sent', () => isAllSent(socket));
    assert.equal(socket.writableLength, 0);
    hangUp(socket);
    assert.equal((await read).bytes, MUCH + 1);
  });

  it('go out before the end, which waits for them', async () => {
    const { socket, reader } = await pair();
    reader.pause();
    writeNow(socket, Buffer.alloc(MUCH, 'x'));
    hangUp(socket);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await readAll(reader, async () => {})).bytes, MUCH);
  });

  it('are not waited for by who hangs up on somebody who never reads', async () => {
    const direct = await pair();
    const byStream = await pair();
    const hangUpOn = async (
      { socket, reader }: Awaited<ReturnType<typeof pair>>,
      write: (to: Socket, bytes: Buffer) => void,
    ): Promise<void> => {
      reader.pause();
      write(socket, Buffer.alloc(MUCH, 'x'));
      const closed = once(socket, 'close');
      hangUp(socket, Buffer.from('farewell'));
      await closed;
      reader.destroy();
    };
    await Promise.all([hangUpOn(direct, writeNow), hangUpOn(byStream, (to, bytes) => to.write(bytes))]);
  });

  it('have the farewell of who hangs up behind them', async () => {
    const { socket, reader } = await pair();
    writeNow(socket, Buffer.from('last words, '));
    hangUp(socket, Buffer.from('farewell'));
    const texts: string[] = [];
    for await (const chunk of reader) texts.push(String(chunk));
    assert.equal(texts.join(''), 'last words, farewell');
  });

  it('tell of a reader who is gone, also where the kernel had taken only a part', async () => {
    for (const isStuck of [false, true]) {
      const { socket, reader } = await pair();
      const errors: NodeJS.ErrnoException[] = [];
      socket.on('error', (error) => errors.push(error));
      if (isStuck) {
        reader.pause();
        writeNow(socket, Buffer.alloc(MUCH, 'x'));
        assert.equal(isAllSent(socket), false);
      }
      const closed = once(socket, 'close');
      socket.pause();
      reader.resetAndDestroy();
      const deadline = setInterval(() => writeNow(socket, Buffer.from('is anybody there?')), 1);
      await closed.catch(() => {});
      clearInterval(deadline);
      await until('it is told', () => errors.length > 0);
      assert.match(errors[0]!.message, /^(write|read) E(PIPE|CONNRESET)$/);
      assert.match(errors[0]!.code!, /^E(PIPE|CONNRESET)$/);
      assert.equal(writeNow(socket, Buffer.from('nobody')), false);
    }
  });

  it('that are under way when the socket is destroyed are forgotten', async () => {
    const { socket, reader } = await pair();
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    reader.pause();
    writeNow(socket, Buffer.alloc(MUCH, 'x'));
    assert.equal(isAllSent(socket), false);
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    await until('it is told', () => isAllSent(socket));
    assert.deepEqual(errors, []);
    reader.destroy();
  });
});
