// The data path on a real mysql cluster.

import { available, skipWithout } from '../servers/available.js';
import { dataPathTests } from './data-path.js';

if (skipWithout(available('mysql')) === false) dataPathTests('mysql');
