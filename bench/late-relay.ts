// A thread that passes bytes on, later: between a primary and its replicas, which are then late by exactly that much. MySQL's and
// MariaDB's own delays are whole seconds. It knows nothing of what it passes.

import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

interface Target {
  readonly host: string;
  readonly port: number;
}

export class LateRelay {
  readonly #worker: Worker;
  readonly port: number;

  private constructor(worker: Worker, port: number) {
    this.#worker = worker;
    this.port = port;
  }

  static async start(target: Target): Promise<LateRelay> {
    const worker = new Worker(fileURLToPath(import.meta.url), {
      workerData: { host: target.host, port: target.port },
    });
    const port = await new Promise<number>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    return new LateRelay(worker, port);
  }

  /** Of what the target sends from now on, in milliseconds. */
  delay(milliseconds: number): void {
    this.#worker.postMessage(milliseconds);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

function relay({ host, port }: Target): void {
  let delayMs = 0;
  parentPort!.on('message', (milliseconds: number) => {
    delayMs = milliseconds;
  });
  const server = createServer((client) => {
    const target = connect(port, host);
    client.on('data', (bytes) => target.write(bytes));
    let last = 0;
    target.on('data', (bytes) => {
      // A delay that has become shorter must not let bytes overtake others.
      last = Math.max(last, performance.now() + delayMs);
      setTimeout(() => client.write(bytes), last - performance.now());
    });
    endWith(client, target);
    endWith(target, client);
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    parentPort!.postMessage(typeof address === 'object' && address !== null ? address.port : 0);
  });
}

export function endWith(socket: Socket, other: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('close', () => other.destroy());
}

if (!isMainThread && parentPort !== null && workerData !== null) relay(workerData as Target);
