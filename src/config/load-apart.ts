// Loads a configuration in a thread that ends with it, for a process that goes on: what checks a configuration, zod with all its
// languages, would stay in memory for the sake of the next reload.

import { Worker } from 'node:worker_threads';
import type { Loaded } from './loaded.js';

/** What the thread is told. */
export interface LoadRequest {
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** As `loadConfig`; rejects only where there can be no thread. */
export function loadConfigApart(
  file: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Loaded> {
  const request: LoadRequest = { file, env: { ...env } };
  const thread = new Worker(new URL('./load-thread.js', import.meta.url), {
    workerData: request,
    execArgv: [],
  });
  return new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`loading the configuration ended early (${code})`)));
  });
}
