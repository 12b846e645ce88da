// Talks to the admin HTTP server of a running proxy, for the commands that do; it knows where that server is and no more.

import { request as httpsRequest } from 'node:https';
import { loadConfig } from '../config/load.js';
import { problemLines } from '../config/loaded.js';
import type { Config } from '../config/schema.js';
import { hostPort } from '../lib/address.js';
import { describeError } from '../lib/errors.js';
import { http } from '../lib/node-http.js';
import { CommandFailure, EXIT, type Flag, type Flags, UsageError } from './command.js';

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const DEFAULT_URL = 'http://127.0.0.1:9464';

export const ADMIN_FLAGS: Readonly<Record<string, Flag>> = {
  admin: { type: 'string', value: 'url', help: `Admin server of the proxy. Default: ${DEFAULT_URL}.` },
  config: { type: 'string', value: 'file', help: "Take the admin server's address (and token) from there." },
};

export interface AdminTarget {
  readonly url: string;
  readonly token: string | null;
}

export async function adminTarget(flags: Flags): Promise<AdminTarget> {
  const url = flags.text('admin');
  const file = flags.text('config');
  const config = file === null ? null : await configOf(file);
  const token = process.env.SCHEELITE_ADMIN_TOKEN ?? config?.admin.token ?? null;
  if (url !== null) {
    if (!/^https?:\/\/[^/]/.test(url))
      throw new UsageError(`--admin needs a URL like ${DEFAULT_URL}, not ${url}`);
    return { url: url.replace(/\/+$/, ''), token };
  }
  if (config === null) return { url: DEFAULT_URL, token };
  const { admin } = config;
  if (!admin.enabled)
    throw new CommandFailure(`${file}: admin.enabled is false: there is nobody to ask`, EXIT.config);
  const host = admin.host === '0.0.0.0' ? '127.0.0.1' : admin.host === '::' ? '::1' : admin.host;
  return { url: `http://${hostPort(host, admin.port)}`, token };
}

async function configOf(file: string): Promise<Config> {
  const loaded = await loadConfig(file);
  if (loaded.config === null) throw new CommandFailure(problemLines(loaded, file).join('\n'), EXIT.config);
  return loaded.config;
}

/**
 * The answer and its status; CommandFailure when there is none. Not by fetch, which refuses some ports that an
 * operator may choose (fetch.spec.whatwg.org, "bad port").
 */
export function askAdminText(
  target: AdminTarget,
  method: 'GET' | 'POST',
  path: string,
  body: unknown = undefined,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(new CommandFailure(`no answer from ${target.url}: ${describeError(error)}`));
    const request = (target.url.startsWith('https:') ? httpsRequest : http.request)(`${target.url}${path}`, {
      method,
      agent: false,
      headers: target.token === null ? {} : { authorization: `Bearer ${target.token}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('error', fail);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy(new Error(`more than ${MAX_ANSWER_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** The same with the answer parsed as JSON; `asked`: what the call has as its body. */
export async function askAdmin(
  target: AdminTarget,
  method: 'GET' | 'POST',
  path: string,
  asked: unknown = undefined,
): Promise<{ status: number; body: unknown }> {
  const { status, text } = await askAdminText(target, method, path, asked);
  try {
    return { status, body: JSON.parse(text) };
  } catch {
    throw new CommandFailure(`${target.url} is not an admin server of Scheelite (status ${status})`);
  }
}
