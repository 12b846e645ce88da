// The suite of redis.ts on mysql.

import { redisSuite } from './redis.js';

redisSuite('mysql');
