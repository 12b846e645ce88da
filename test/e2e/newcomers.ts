// Clients that come and go: one after the other logs in, reads and leaves, and whoever is refused is written down.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Front, Stage } from './stage.js';

export interface Newcomers {
  end(): Promise<{ entered: number; refused: string[] }>;
}

export function newcomers(stage: Stage, front: Front): Newcomers {
  let ended = false;
  let entered = 0;
  const refused: string[] = [];
  const coming = (async () => {
    while (!ended) {
      try {
        const client = await stage.driver.connect(front.proxy, stage.cluster.user);
        await client.query('SELECT name FROM items WHERE id = 1');
        await client.close();
        entered++;
      } catch (error) {
        refused.push(`${stage.driver.codeOf(error)} ${String(error)}`);
      }
      await sleep(5);
    }
  })();
  return {
    async end() {
      ended = true;
      await coming;
      return { entered, refused };
    },
  };
}
