// The oracle on PostgreSQL 15, briefly.

import { available } from '../servers/available.js';
import { postgresOracle } from './postgres/run.js';
import { AT_LEAST, SECONDS, shortOracle } from './short.js';

shortOracle('PostgreSQL 15', available('postgres', 15), (seed) =>
  postgresOracle({ version: 15, seed, seconds: SECONDS, atLeast: AT_LEAST }),
);
