// BEGIN, roles and KILL as on a direct connection, with a real mysql server.

import { available, skipWithout } from '../servers/available.js';
import { asDirectTests } from './as-direct.js';

if (skipWithout(available('mysql')) === false) asDirectTests('mysql');
