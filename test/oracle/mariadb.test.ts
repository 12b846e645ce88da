// The oracle on MariaDB, briefly.

import { available } from '../servers/available.js';
import { mysqlOracle } from './mysql/run.js';
import { AT_LEAST, SECONDS, shortOracle } from './short.js';

shortOracle('MariaDB', available('mariadb'), (seed) =>
  mysqlOracle({ flavour: 'mariadb', seed, seconds: SECONDS, atLeast: AT_LEAST }),
);
