// Writes to a socket past Node's streams, where nothing waits in them: of the 8.4 us that a bare echo takes, 0.7 are what Node's
// streams do about a write that the kernel takes at once. Node does not offer this, so this leans on how it does it (tried: 20, 24); where
// that is not as expected, a socket is written to as any other. It knows no protocol.

import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

/** Node's own `WriteWrap`: what is told when a write has ended that the kernel did not take at once. */
interface WriteRequest {
  oncomplete: (status: number) => void;
  socket: DirectSocket | null;
  /** Not collected before the kernel has it. */
  bytes: Buffer | null;
}

interface Handle {
  /** 0, or an errno below it. What the kernel does not take is libuv's, behind what it has already. */
  writeBuffer(request: WriteRequest, bytes: Buffer): number;
  /** In bytes: of what is libuv's. */
  readonly writeQueueSize: number;
}

const UNSENT = Symbol('unsent');

interface DirectSocket extends Socket {
  _handle?: Handle | null;
  /** A direct write that the kernel has not taken as a whole. */
  [UNSENT]?: true | undefined;
}

let makeRequest: (new () => WriteRequest) | null = null;
let isUsable = true;

/** Everything that was written to it is with the kernel. */
export function isAllSent(socket: Socket): boolean {
  return socket.writableLength === 0 && (socket as DirectSocket)[UNSENT] === undefined;
}

/** As `socket.write`: false: more should wait for `drain`. */
export function writeNow(socket: Socket, bytes: Buffer): boolean {
  const direct = socket as DirectSocket;
  const handle = direct._handle;
  const isFree =
    isAllSent(socket) && socket.writable && socket.writableCorked === 0 && !socket.connecting && isUsable;
  if (!isFree || handle == null || 'encrypted' in socket) return socket.write(bytes);
  if (makeRequest === null) {
    learn(handle);
    return socket.write(bytes);
  }
  // One of its own for each, as Node does: where libuv wrote the rest of what the kernel took in parts, nothing waits any more, and
  // yet the request is libuv's until its loop comes to it. Used twice it would end the process.
  const request = new makeRequest();
  const failure = handle.writeBuffer(request, bytes);
  if (failure !== 0) {
    socket.destroy(writeError(failure));
    return false;
  }
  if (handle.writeQueueSize === 0) return true;
  request.oncomplete = onComplete;
  request.socket = direct;
  request.bytes = bytes;
  direct[UNSENT] = true;
  return true;
}

function onComplete(this: WriteRequest, status: number): void {
  const { socket } = this;
  this.socket = null;
  this.bytes = null;
  if (socket === null) return;
  socket[UNSENT] = undefined;
  if (status < 0 && !socket.destroyed) socket.destroy(writeError(status));
}

/** As Node's own. */
function writeError(errno: number): Error {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`write ${code}`), { errno, code, syscall: 'write' });
}

/** The next write by Node itself shows what it gives to `writeBuffer`. */
function learn(handle: Handle): void {
  if (typeof handle.writeBuffer !== 'function' || typeof handle.writeQueueSize !== 'number') {
    isUsable = false;
    return;
  }
  handle.writeBuffer = function (this: Handle, request: WriteRequest, bytes: Buffer): number {
    Reflect.deleteProperty(this, 'writeBuffer');
    const maker = request.constructor;
    if (maker.name === 'WriteWrap') makeRequest = maker as new () => WriteRequest;
    else isUsable = false;
    return this.writeBuffer(request, bytes);
  };
}
