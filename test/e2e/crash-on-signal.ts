// Loaded into a worker before its own program (node --import): SIGUSR2 is an error there that nobody catches.
// It touches no other process of the proxy.

import { WORKER_VARIABLE } from '../../src/proxy/workers/messages.js';

if (process.env[WORKER_VARIABLE] !== undefined)
  process.on('SIGUSR2', () => {
    throw new Error('planted by the test');
  });
