// Command lines and sysbench on a real mariadb cluster.

import { available, skipWithout } from '../servers/available.js';
import { programTests } from './programs.js';

if (skipWithout(available('mariadb')) === false) programTests('mariadb');
