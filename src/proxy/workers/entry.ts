// What a worker's process runs; the supervisor starts it, nobody else.
// It knows which worker it is, and wires nothing by itself.

import { stayLean } from '../../lib/lean-process.js';
import { loadProtocols } from '../compose.js';
import { PROTOCOLS_VARIABLE, WORKER_VARIABLE } from './messages.js';
import { runWorker } from './worker.js';

stayLean();
const protocols = await loadProtocols(new Set(process.env[PROTOCOLS_VARIABLE]?.split(',')));
runWorker(Number(process.env[WORKER_VARIABLE]), protocols);
