// Passes bytes on between its clients and one server, a connection for each, and looks at none of them: what Node itself costs
// a proxy that sends each statement by itself. Started as a program: `node node-relay.js HOST PORT` prints its own port.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { TestNode } from '../test/servers/cluster.js';
import { endWith } from './late-relay.js';

const PROGRAM = fileURLToPath(import.meta.url);
const LOOPBACK = '127.0.0.1';

export interface RunningRelay {
  readonly host: string;
  readonly port: number;
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

/** `command`: a Node and its flags. */
export async function startRelay(
  target: Pick<TestNode, 'host' | 'port'>,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<RunningRelay> {
  const [node, ...flags] = command as [string, ...string[]];
  const child = spawn(node, [...flags, PROGRAM, target.host, String(target.port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  const port = await portOf(child);
  return {
    host: LOOPBACK,
    port,
    pid: child.pid,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    },
  };
}

async function portOf(child: ChildProcess): Promise<number> {
  const said = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit').then(() => null)]);
  if (said === null) throw new Error('the relay ended before it listened');
  return Number.parseInt(String(said[0]), 10);
}

function serve(host: string, port: number): void {
  const server = createServer({ noDelay: true }, (client) => {
    const target = connect({ host, port, noDelay: true });
    joined(client, target);
    joined(target, client);
  });
  server.listen(0, LOOPBACK, () => {
    const address = server.address();
    process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : 0}\n`);
  });
}

function joined(from: Socket, to: Socket): void {
  endWith(from, to);
  from.pipe(to);
}

if (process.argv[1] === PROGRAM) serve(process.argv[2]!, Number(process.argv[3]));
