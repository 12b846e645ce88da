// The oracle on MySQL, briefly.

import { available } from '../servers/available.js';
import { mysqlOracle } from './mysql/run.js';
import { AT_LEAST, SECONDS, shortOracle } from './short.js';

shortOracle('MySQL', available('mysql'), (seed) =>
  mysqlOracle({ flavour: 'mysql', seed, seconds: SECONDS, atLeast: AT_LEAST }),
);
