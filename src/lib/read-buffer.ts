// Buffers that sockets are read into, in place of one of 64 KiB that Node allocates, shrinks and collects for each read: 1 us
// less of the 7 that a read and a write of a hundred bytes take. One for all: what is read into it is copied before anybody
// sees it. One of its own for each server connection that has sent much at a time. Node offers this (`onread`) for sockets that
// connect and have not been read yet, so this leans on how Node does it (20 to 26); where that is not as expected, a socket is
// read as any other.

import { Socket, type SocketConstructorOpts } from 'node:net';

const BYTES = 65_536;

type Fields = Record<'kBuffer' | 'kBufferCb' | 'kBufferGen', symbol>;
/** What has been read are the first `bytes` of `buffer`, until it returns; false: no more until `resume`. */
export type OnRead = (this: Socket, bytes: number, buffer: Buffer) => boolean;

const buffer = Buffer.allocUnsafeSlow(BYTES);
const fields = findFields();

function findFields(): Fields | null {
  const options = { onread: { buffer, callback: () => true } };
  const sample = new Socket(options as SocketConstructorOpts);
  const found: Partial<Fields> = {};
  for (const symbol of Object.getOwnPropertySymbols(sample)) {
    const name = symbol.description;
    if (name === 'kBuffer' || name === 'kBufferCb' || name === 'kBufferGen') found[name] = symbol;
  }
  sample.destroy();
  const { kBuffer, kBufferCb, kBufferGen } = found;
  return kBuffer && kBufferCb && kBufferGen ? { kBuffer, kBufferCb, kBufferGen } : null;
}

/**
 * From now on `onRead` is told of what the socket reads, and `data` listeners are not. False: it is as before, because Node is
 * another one than expected, or something has been read already.
 */
export function readIntoOne(socket: Socket, onRead: OnRead): boolean {
  return socket.readableFlowing === null && readInto(socket, buffer, onRead, null);
}

/**
 * The same, also for a socket that has been read before, if nothing is left of that. `onRead`: whether the buffer may be read into
 * again; else the next read gets another one, which is the socket's own: of such a one it may keep what it has been told.
 */
export function readIntoOwn(
  socket: Socket,
  onRead: (bytes: number, buffer: Buffer, isOwn: boolean) => boolean,
): boolean {
  // What is decrypted is copied anyway.
  if ('encrypted' in socket) return false;
  let isFree = true;
  return readInto(
    socket,
    buffer,
    (bytes, into) => {
      isFree = onRead(bytes, into, into !== buffer);
      return !socket.isPaused();
    },
    () => (isFree ? null : Buffer.allocUnsafeSlow(BYTES)),
  );
}

/** `next`: asked after each read; null: the same buffer. */
function readInto(
  socket: Socket,
  first: Buffer,
  onRead: OnRead,
  next: (() => Buffer | null) | null,
): boolean {
  const handle = (socket as { _handle?: { useUserBuffer?: (buffer: Buffer) => unknown } | null })._handle;
  if (fields === null || typeof handle?.useUserBuffer !== 'function' || socket.readableLength > 0)
    return false;
  Object.assign(socket, { [fields.kBuffer]: first, [fields.kBufferCb]: onRead, [fields.kBufferGen]: next });
  handle.useUserBuffer(first);
  socket.resume();
  return true;
}
