// The admin HTTP server: metrics, health, status, reload. It knows the process only as AdminSource.
// Loopback unless told otherwise; whatever changes state needs the token; requests are small and have a deadline.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { http } from '../lib/node-http.js';
import { explainRequest, sessionsRequest } from './explain.js';
import type { AdminSource } from './source.js';
import { statementsQuery } from './statements.js';

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
/** A statement, as JSON: longer ones are not classified by default. */
const MAX_STATEMENT_BODY_BYTES = 1024 * 1024;
const MAX_CONNECTIONS = 100;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** How often node:http looks for requests that are late. */
const CHECK_INTERVAL_MS = 1_000;

export interface AdminOptions {
  readonly host: string;
  readonly port: number;
  /** Asked at each request, because a reload may change it; null: calls that need one are refused. */
  readonly token: () => string | null;
  readonly source: AdminSource;
  /** Told of what went wrong in answering; never of what clients do wrong. */
  readonly onError: (error: unknown) => void;
}

export interface AdminServer {
  readonly host: string;
  /** The real one. */
  readonly port: number;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Route {
  readonly method: 'GET' | 'POST';
  readonly needsToken: boolean;
  /** Default: MAX_BODY_BYTES. */
  readonly maxBodyBytes?: number;
  readonly answer: (source: AdminSource, query: URLSearchParams, body: string) => Answer | Promise<Answer>;
}

const json = (status: number, value: unknown, headers?: Record<string, string>): Answer => ({
  status,
  type: 'application/json; charset=utf-8',
  body: `${JSON.stringify(value)}\n`,
  ...(headers === undefined ? {} : { headers }),
});
const text = (status: number, body: string, type = 'text/plain; charset=utf-8'): Answer => ({
  status,
  type,
  body,
});

const ROUTES: ReadonlyMap<string, Route> = new Map([
  ['/healthz', { method: 'GET', needsToken: false, answer: () => text(200, 'ok\n') }],
  [
    '/readyz',
    {
      method: 'GET',
      needsToken: false,
      answer: (source) => {
        const { ok, reasons } = source.ready();
        return ok ? text(200, 'ready\n') : text(503, `not ready\n${reasons.join('\n')}\n`);
      },
    },
  ],
  [
    '/metrics',
    {
      method: 'GET',
      needsToken: false,
      answer: async (source) => {
        const metrics = await source.metrics();
        return text(200, metrics.text, metrics.contentType);
      },
    },
  ],
  [
    '/api/v1/status',
    { method: 'GET', needsToken: false, answer: async (source) => json(200, await source.status()) },
  ],
  [
    '/api/v1/statements',
    {
      method: 'GET',
      needsToken: false,
      answer: async (source, parameters) => {
        const query = statementsQuery(parameters);
        return typeof query === 'string'
          ? json(400, { error: query })
          : json(200, await source.statements(query));
      },
    },
  ],
  [
    '/api/v1/statements/reset',
    {
      method: 'POST',
      needsToken: true,
      answer: async (source) => {
        await source.resetStatements();
        return json(200, { reset: true });
      },
    },
  ],
  [
    '/api/v1/explain',
    {
      // It changes nothing. A statement has no place in a URL, which is logged on its way.
      method: 'POST',
      needsToken: false,
      maxBodyBytes: MAX_STATEMENT_BODY_BYTES,
      answer: async (source, _query, body) => {
        const request = explainRequest(body);
        if (typeof request === 'string') return json(400, { error: request });
        const report = await source.explain(request);
        return 'problem' in report ? json(404, { error: report.problem }) : json(200, report);
      },
    },
  ],
  [
    '/api/v1/sessions',
    {
      method: 'GET',
      needsToken: false,
      answer: async (source, query) => {
        const request = sessionsRequest(query);
        return typeof request === 'string'
          ? json(400, { error: request })
          : json(200, await source.sessions(request));
      },
    },
  ],
  [
    '/api/v1/reload',
    {
      method: 'POST',
      needsToken: true,
      answer: async (source) => {
        const report = await source.reload();
        return json(report.outcome === 'refused' ? 409 : 200, report);
      },
    },
  ],
] satisfies [string, Route][]);

/** Rejects when it cannot bind. */
export function startAdminServer(options: AdminOptions): Promise<AdminServer> {
  const server = http.createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    },
    (request, response) => {
      void handle(request, response, options);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      server.on('error', options.onError);
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.port;
      resolve({
        host: options.host,
        port,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
  });
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: AdminOptions,
): Promise<void> {
  let answer: Answer;
  try {
    answer = await answerTo(request, options);
  } catch (error) {
    options.onError(error);
    answer = json(500, { error: 'internal error; the log says more' });
  }
  if (response.destroyed) return;
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'Content-Type': answer.type,
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // A request whose body was not read to its end cannot be followed by another.
    ...(request.complete ? {} : { Connection: 'close' }),
    ...answer.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answerTo(request: IncomingMessage, { source, token }: AdminOptions): Promise<Answer> {
  const url = request.url ?? '/';
  const path = url.split('?', 1)[0]!;
  const route = ROUTES.get(path);
  if (route === undefined) return json(404, { error: `there is no ${path.slice(0, 200)}` });
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  if (method !== route.method) {
    const allow = route.method === 'GET' ? 'GET, HEAD' : route.method;
    return json(405, { error: `use ${allow}` }, { Allow: allow });
  }
  if (route.needsToken) {
    const expected = token();
    if (expected === null) {
      return json(403, { error: 'admin.token is not configured: calls that change something are refused' });
    }
    if (!carriesToken(request, expected)) {
      return json(
        401,
        { error: 'the token is missing or wrong' },
        { 'WWW-Authenticate': 'Bearer realm="scheelite"' },
      );
    }
  }
  const limit = route.maxBodyBytes ?? MAX_BODY_BYTES;
  const body = await smallBody(request, limit);
  if (body === null) return json(413, { error: `the body exceeds ${limit} bytes` }, { Connection: 'close' });
  return route.answer(source, new URLSearchParams(url.slice(path.length)), body);
}

/** Compared as hashes, so that neither the length nor the first wrong byte shows in the time it takes. */
function carriesToken(request: IncomingMessage, expected: string): boolean {
  const given = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const digest = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** Read to its end also where it means nothing, so that the connection can be used again. Null: it is over the limit. */
function smallBody(request: IncomingMessage, maxBytes: number): Promise<string | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) {
        chunks.push(chunk);
        return;
      }
      request.pause();
      resolve(null);
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    // The client went away: whatever is answered reaches nobody.
    request.on('error', () => resolve(null));
    request.on('close', () => resolve(null));
  });
}
