// node:http, as a process that is to stay small loads it. It knows nothing of who serves or asks.

import { createRequire } from 'node:module';

/** An `import` reads everything that the module exports, and for its WebSocket Node (22 and later) loads an HTTP client: 13 MiB. */
export const http = createRequire(import.meta.url)('node:http') as typeof import('node:http');
