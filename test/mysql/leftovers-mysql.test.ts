// What clients leave behind on a real mysql server.

import { available, skipWithout } from '../servers/available.js';
import { leftoverTests } from './leftovers.js';

if (skipWithout(available('mysql')) === false) leftoverTests('mysql');
