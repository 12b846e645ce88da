// What clients leave behind on a real mariadb server.

import { available, skipWithout } from '../servers/available.js';
import { leftoverTests } from './leftovers.js';

if (skipWithout(available('mariadb')) === false) leftoverTests('mariadb');
