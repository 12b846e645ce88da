// The suite of redis.ts on mariadb.

import { redisSuite } from './redis.js';

redisSuite('mariadb');
