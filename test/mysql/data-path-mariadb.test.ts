// The data path on a real mariadb cluster.

import { available, skipWithout } from '../servers/available.js';
import { dataPathTests } from './data-path.js';

if (skipWithout(available('mariadb')) === false) dataPathTests('mariadb');
