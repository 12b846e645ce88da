// node dist/test/lib/direct-write-flood.js PORT MEGABYTES: writes so much to that port, piece by piece, as a reply to a client is.

import net from 'node:net';
import { isAllSent, writeNow } from '../../src/lib/direct-write.js';

const PIECE = Buffer.alloc(100_000, 'x');
const [port, megabytes] = process.argv.slice(2).map(Number) as [number, number];
const socket = net.connect({ host: '127.0.0.1', port });
socket.once('connect', () => {
  writeNow(socket, Buffer.from('first'));
  let left = (megabytes * 1_000_000) / PIECE.length;
  const more = (): void => {
    for (let i = 0; i < 8 && left > 0 && isAllSent(socket); i++, left--) writeNow(socket, PIECE);
    if (left > 0) setImmediate(more);
    else socket.end();
  };
  setImmediate(more);
});
