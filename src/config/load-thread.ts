// The thread of load-apart.ts: loads one configuration, tells what that gave, and ends.

import { parentPort, workerData } from 'node:worker_threads';
import { loadConfig } from './load.js';
import type { LoadRequest } from './load-apart.js';

const { file, env } = workerData as LoadRequest;
parentPort!.postMessage(await loadConfig(file, env));
