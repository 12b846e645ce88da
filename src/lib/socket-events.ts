// Leads a client's socket to its owner: what happens to it is told by the same functions for all sockets, because closures for
// each would take half a kilobyte of every idle client. It knows no protocol.

import type { Socket } from 'node:net';
import { busyPoll } from './busy-poll.js';
import { pooledCopyOf } from './chunk-copies.js';
import { describeError } from './errors.js';
import { readIntoOne } from './read-buffer.js';

export interface SocketOwner {
  received(chunk: Buffer): void;
  drained(): void;
  /** Nothing more comes, or can be sent. It may be told so several times. */
  close(reason: string): void;
}

const OWNER = Symbol('owner');
const GONE = 'the client closed the connection';

interface OwnedSocket extends Socket {
  [OWNER]: SocketOwner;
}

export function ownSocket(socket: Socket, owner: SocketOwner): void {
  (socket as OwnedSocket)[OWNER] = owner;
  if (!readIntoOne(socket, onRead)) socket.on('data', onData);
  socket.on('drain', onDrain);
  socket.on('error', onError);
  // Node's own makes writes behind the end fail, which they do anyway; two listeners take a hundred bytes of an idle client.
  const [nodes, ...others] = socket.listeners('end');
  if (nodes !== undefined && others.length === 0) socket.off('end', nodes as () => void);
  socket.on('end', onEnd);
}

/** For who listens to `close`, on every socket that has an owner: a second listener would take a hundred bytes of an idle client. */
export function socketClosed(socket: Socket): void {
  (socket as Partial<OwnedSocket>)[OWNER]?.close(GONE);
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  busyPoll.noteClient(this);
  this[OWNER].received(chunk);
}

function onRead(this: Socket, bytes: number, buffer: Buffer): boolean {
  onData.call(this as OwnedSocket, pooledCopyOf(buffer, bytes));
  return !this.isPaused();
}

function onDrain(this: OwnedSocket): void {
  this[OWNER].drained();
}

function onError(this: OwnedSocket, error: Error): void {
  this[OWNER].close(describeError(error));
}

function onEnd(this: OwnedSocket): void {
  this[OWNER].close(GONE);
}
