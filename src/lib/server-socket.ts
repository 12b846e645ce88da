// Leads a server connection's socket to its owner. Where much comes it lies in one buffer that is read into again and again, as
// long as whoever was told of it holds on to nothing: a result of many rows leaves no garbage then (a third of the processor
// time was V8 collecting buffers of what had long been passed on). It knows no protocol.

import type { Socket } from 'node:net';
import { busyPoll } from './busy-poll.js';
import { MAX_POOLED_BYTES, pooledCopyOf } from './chunk-copies.js';
import { describeError } from './errors.js';
import { readIntoOwn } from './read-buffer.js';
import { StreamReading } from './stream-reading.js';

/** Less is copied: what is kept of it keeps no whole buffer. */
const LEAST_BYTES = MAX_POOLED_BYTES;

/**
 * `received`: true when nothing refers to the chunk any more, neither here nor on its way to a client. `lost`: null: the node has
 * ended it, else why; it may be told so several times. The answer holds the socket back: nobody else may pause or resume it.
 */
export function ownServerSocket(
  socket: Socket,
  received: (chunk: Buffer) => boolean,
  lost: (reason: string | null) => void,
): Pick<StreamReading, 'isPaused' | 'interrupted' | 'pause' | 'resume'> {
  const reading = new StreamReading(socket);
  // Whether the last chunk had gone when `received` returned: the next one will, most likely.
  let isGone = false;
  const onRead = (bytes: number, buffer: Buffer, isOwn: boolean): boolean => {
    // A stream of rows keeps nobody waiting who could be woken sooner.
    if (bytes < LEAST_BYTES) busyPoll.noteServer();
    const isMuch = isGone && bytes >= LEAST_BYTES;
    if (isMuch && isOwn) {
      isGone = received(buffer.subarray(0, bytes));
      reading.passedOn(bytes, isGone);
      return isGone;
    }
    isGone = received(pooledCopyOf(buffer, bytes));
    // 64 KiB for who has had much; it is kept, because who has had much will again.
    return !isMuch || isOwn;
  };
  const onData = (chunk: Buffer): void => {
    busyPoll.noteServer();
    received(chunk);
  };
  if (!readIntoOwn(socket, onRead)) socket.on('data', onData);
  socket.on('error', (error) => lost(describeError(error)));
  // At the node's end of it, not at the socket's: a write in between would be of unknown outcome for nothing.
  socket.on('end', () => lost(null));
  socket.on('close', () => lost(null));
  return reading;
}
