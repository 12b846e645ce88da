// What a worker's process runs; the supervisor starts it, nobody else.
// It knows which worker it is, and wires nothing by itself.

import { PROTOCOLS } from '../compose.js';
import { WORKER_VARIABLE } from './messages.js';
import { runWorker } from './worker.js';

runWorker(Number(process.env[WORKER_VARIABLE]), PROTOCOLS);
