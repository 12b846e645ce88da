// The suite of redis.ts on postgres.

import { redisSuite } from './redis.js';

redisSuite('postgres');
