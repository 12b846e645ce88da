// The suite of redis-modes.ts on postgres.

import { redisModesSuite } from './redis-modes.js';

redisModesSuite('postgres');
