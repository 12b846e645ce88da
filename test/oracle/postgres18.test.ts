// The oracle on PostgreSQL 18, briefly.

import { available } from '../servers/available.js';
import { postgresOracle } from './postgres/run.js';
import { AT_LEAST, SECONDS, shortOracle } from './short.js';

shortOracle('PostgreSQL 18', available('postgres', 18), (seed) =>
  postgresOracle({ version: 18, seed, seconds: SECONDS, atLeast: AT_LEAST }),
);
