// Finds free TCP ports for servers that the demo and the tests start; it does not know what they are for.

import { createSocket } from 'node:dgram';
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

/**
 * The UDP port of the same number, kept for as long as this process lives: others that look for a port meanwhile find it spoken
 * for, though no server listens yet, or one is down.
 */
function claim(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.on('error', (error: NodeJS.ErrnoException) => {
      socket.close();
      // Where there is no UDP, nothing can be claimed.
      resolve(error.code !== 'EADDRINUSE');
    });
    socket.bind({ port, address: host, exclusive: true }, () => resolve(true));
    socket.unref();
  });
}

/** A port of an IPv4 address that nobody listens on, and that neither this function nor another process's has returned. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const top = Math.max(lowestEphemeralPort(), 12_000);
  const bottom = Math.max(10_000, top - 20_000);
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = bottom + Math.floor(Math.random() * (top - bottom));
    if (taken.has(port)) continue;
    taken.add(port);
    if ((await claim(port, host)) && (await canListen(port, host))) return port;
  }
  throw new Error(`no free port between ${bottom} and ${top} on ${host}`);
}
