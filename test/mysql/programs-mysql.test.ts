// Command lines and sysbench on a real mysql cluster.

import { available, skipWithout } from '../servers/available.js';
import { programTests } from './programs.js';

if (skipWithout(available('mysql')) === false) programTests('mysql');
