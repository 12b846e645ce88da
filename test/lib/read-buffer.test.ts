// Sockets that are read into one buffer: what each was sent is what its owner is told, whenever he looks at it.

import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { copyOf } from '../../src/lib/chunk-copies.js';
import { readIntoOne } from '../../src/lib/read-buffer.js';
import { ownSocket, type SocketOwner } from '../../src/lib/socket-events.js';
import { until } from '../servers/poll.js';
import { SocketPairs } from './socket-pairs.js';

class Owner implements SocketOwner {
  readonly chunks: Buffer[] = [];
  closedBy: string | null = null;
  onChunk = (): void => {};

  received(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onChunk();
  }
  drained(): void {}
  close(reason: string): void {
    this.closedBy ??= reason;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

describe('sockets that are read into one buffer', () => {
  let pairs: SocketPairs;
  before(async () => {
    pairs = await SocketPairs.listen();
  });
  after(() => pairs.close());

  async function pair(): Promise<{ client: Socket; socket: Socket }> {
    const { connected, accepted } = await pairs.open();
    return { client: connected, socket: accepted };
  }

  async function owned(): Promise<{ client: Socket; socket: Socket; owner: Owner }> {
    const { client, socket } = await pair();
    const owner = new Owner();
    ownSocket(socket, owner);
    return { client, socket, owner };
  }

  it('are so on this Node', async () => {
    const { client, socket } = await pair();
    assert.equal(
      readIntoOne(socket, () => true),
      true,
    );
    client.destroy();
  });

  it('have chunks of their own: what others are sent later changes none', async () => {
    const all: Awaited<ReturnType<typeof owned>>[] = [];
    for (let i = 0; i < 20; i++) all.push(await owned());
    const sent = all.map(() => '');
    for (let round = 0; round < 30; round++) {
      for (const [i, { client }] of all.entries()) {
        const text = `${i}:${round};`.repeat(1 + ((i * 7 + round) % 40));
        sent[i] += text;
        client.write(text);
      }
      await until('it is read', () => all.every(({ owner }, i) => owner.bytes.length === sent[i]!.length));
    }
    for (const [i, { owner, client }] of all.entries()) {
      assert.equal(owner.bytes.toString(), sent[i]);
      client.destroy();
    }
  });

  it('are read in order and whole, however much comes', async () => {
    const { client, owner } = await owned();
    const bytes = Buffer.alloc(10_000_000, 'What is longer than the buffer comes in parts. ');
    client.end(bytes);
    await until('it has ended', () => owner.closedBy !== null);
    assert.ok(owner.bytes.equals(bytes));
    assert.equal(owner.closedBy, 'the client closed the connection');
  });

  it('are not read while they are paused, and go on', async () => {
    const { client, socket, owner } = await owned();
    owner.onChunk = () => socket.pause();
    const bytes = Buffer.alloc(30_000_000, 'more than the kernel keeps');
    client.write(bytes);
    await until('something is there', () => owner.chunks.length > 0);
    const [first] = owner.chunks;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(owner.bytes.length, first!.length);
    // As the data path does: paused again in the turn that resumes.
    socket.resume();
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(owner.chunks.length <= 2, `${owner.chunks.length} chunks`);
    owner.onChunk = () => {};
    socket.resume();
    await until('all is there', () => owner.bytes.length === bytes.length);
    assert.ok(owner.bytes.equals(bytes));
    client.destroy();
  });

  it('are read as any other where something has been read already', async () => {
    const { client, socket } = await pair();
    client.write('early');
    await until('it is in the socket', () => socket.readableLength === 5);
    const owner = new Owner();
    ownSocket(socket, owner);
    await until('it is told', () => owner.bytes.toString() === 'early');
    client.write(', late');
    await until('the rest is told', () => owner.bytes.toString() === 'early, late');
    client.destroy();
  });

  it('tell of a client that is cut off', async () => {
    const { client, owner } = await owned();
    client.resetAndDestroy();
    await until('it is told', () => owner.closedBy !== null);
  });
});

it('a copy is of the first bytes, with memory of its own', () => {
  const bytes = Buffer.from('abcdef');
  const copy = copyOf(bytes.subarray(0, 3));
  bytes.fill(0);
  assert.equal(copy.toString(), 'abc');
  assert.equal(copy.buffer.byteLength, 3);
});
