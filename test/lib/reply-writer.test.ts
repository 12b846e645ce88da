// What a client reads is what it was written, in that order, whatever was gathered or kept back on the way.

import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { ReplyWriter } from '../../src/lib/reply-writer.js';
import { SocketPairs } from './socket-pairs.js';

describe('what a client is written', () => {
  let pairs: SocketPairs;
  before(async () => {
    pairs = await SocketPairs.listen();
  });
  after(() => pairs.close());

  async function open(): Promise<{ writer: ReplyWriter; socket: Socket; read: () => Promise<string> }> {
    const { connected, accepted } = await pairs.open();
    const read = async (): Promise<string> => {
      let text = '';
      for await (const chunk of connected) text += String(chunk);
      return text;
    };
    return { writer: new ReplyWriter(accepted, 1_000_000), socket: accepted, read };
  }

  const bytes = (text: string): Buffer => Buffer.from(text);

  it("is in order, what is the proxy's own among replies", async () => {
    const { writer, read } = await open();
    for (const turn of ['1', '2', '3']) {
      writer.write(bytes(`a${turn}`));
      writer.write(bytes(`b${turn}`));
      assert.equal(writer.isWritten, false, 'it has been gathered only');
      writer.writeAll([bytes(`c${turn}`), bytes(`d${turn}`)]);
      writer.write(bytes(`e${turn}`));
      await new Promise(setImmediate);
      assert.equal(writer.isWritten, true);
    }
    writer.hangUp();
    assert.equal(await read(), 'a1b1c1d1e1a2b2c2d2e2a3b3c3d3e3');
  });

  it('leaves in one write where nothing came between', async () => {
    const { writer, socket, read } = await open();
    let writes = 0;
    const { write } = socket;
    socket.write = function (this: Socket, ...args: Parameters<Socket['write']>) {
      writes++;
      return write.apply(this, args);
    } as Socket['write'];
    for (let i = 0; i < 10; i++) writer.write(bytes(`${i}`));
    await new Promise(setImmediate);
    assert.ok(writes <= 1, `${writes} writes`);
    writer.hangUp();
    assert.equal(await read(), '0123456789');
  });

  it('is kept back behind what was gathered before', async () => {
    const { writer, read } = await open();
    writer.write(bytes('own,'));
    writer.hold();
    writer.writeAll([bytes('reply,')]);
    writer.write(bytes('more,'));
    await new Promise(setImmediate);
    writer.write(bytes('late,'));
    writer.release();
    writer.write(bytes('end'));
    writer.hangUp();
    assert.equal(await read(), 'own,reply,more,late,end');
  });

  it('goes out before the end, but for what is kept back', async () => {
    const { writer, read } = await open();
    writer.write(bytes('said, '));
    writer.hold();
    writer.write(bytes('not said'));
    writer.hangUp();
    assert.equal(await read(), 'said, ');
  });

  it('begins to go out where much is kept back, behind what was gathered', async () => {
    const { writer, read } = await open();
    writer.write(bytes('own,'));
    writer.hold();
    const part = 'x'.repeat(100_000);
    for (let i = 0; i < 5; i++) writer.writeAll([bytes(`${i}${part}`)]);
    await new Promise(setImmediate);
    writer.release();
    writer.hangUp();
    assert.equal(await read(), `own,${[0, 1, 2, 3, 4].map((i) => `${i}${part}`).join('')}`);
  });
});
