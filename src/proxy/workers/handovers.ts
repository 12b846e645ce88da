// Connections on their way to a worker, which node:cluster forgets when the worker ends before it has taken them.
// It hands nothing over by itself.

import type { ChildProcess } from 'node:child_process';

/** What node:cluster sends along with an accepted connection, and what comes back for it (lib/internal/cluster, Node 20 to 24). */
interface Handover {
  readonly act?: string;
  readonly seq?: number;
}
interface Acknowledgement {
  readonly ack?: number;
}
interface Handle {
  close(): void;
}

/** Answers a function for the end of the process: those whose connection it has not taken are cut, or they would wait for ever. */
export function watchHandovers(child: ChildProcess): () => void {
  const underWay = new Map<number, Handle>();
  const send = child.send.bind(child) as (...args: unknown[]) => boolean;
  const watched = (message: Handover, handle?: Handle, ...rest: unknown[]): boolean => {
    if (message.act === 'newconn' && message.seq !== undefined && handle !== undefined)
      underWay.set(message.seq, handle);
    return send(message, handle, ...rest);
  };
  child.send = watched as typeof child.send;
  child.on('internalMessage', ({ ack }: Acknowledgement) => {
    if (ack !== undefined) underWay.delete(ack);
  });
  return () => {
    for (const handle of underWay.values()) handle.close();
    underWay.clear();
  };
}
