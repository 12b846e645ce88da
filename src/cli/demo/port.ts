// Finds free TCP ports for servers that the demo and the tests start; it does not know what they are for.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Ports handed out by this process: a server that is down must find its port free when it comes back. */
const taken = new Set<number>();

/**
 * The kernel takes the local ports of outgoing connections from this range, so a port out of it that is free now
 * may be gone when the server is started again. Ours are below it.
 */
function lowestEphemeralPort(): number {
  try {
    return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10) || 32768;
  } catch {
    return 32768;
  }
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** A port that nobody listens on and that this function has not returned before. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const top = Math.max(lowestEphemeralPort(), 12_000);
  const bottom = Math.max(10_000, top - 20_000);
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = bottom + Math.floor(Math.random() * (top - bottom));
    if (taken.has(port)) continue;
    taken.add(port);
    if (await canListen(port, host)) return port;
  }
  throw new Error(`no free port between ${bottom} and ${top} on ${host}`);
}
