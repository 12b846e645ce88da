// Asks a node to cancel what one of its server connections runs, by a connection of its own (protocol-flow, canceling requests).
// It knows no unit; whether the signal still hits what was meant is for the caller to see to.

import { connect } from 'node:net';
import { buildCancelRequest } from './wire/startup.js';

const TIMEOUT_MS = 5000;

/** Never rejects. Ends when nothing is on its way any more: the node closes this connection when the signal has been sent. */
export function requestCancel(
  node: { readonly host: string; readonly port: number },
  key: { readonly processId: number; readonly secretKey: Buffer },
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(node);
    socket.on('connect', () => socket.write(buildCancelRequest(key.processId, key.secretKey)));
    socket.on('data', () => {});
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  });
}
