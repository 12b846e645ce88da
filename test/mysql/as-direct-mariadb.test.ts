// BEGIN, roles and KILL as on a direct connection, with a real mariadb server.

import { available, skipWithout } from '../servers/available.js';
import { asDirectTests } from './as-direct.js';

if (skipWithout(available('mariadb')) === false) asDirectTests('mariadb');
