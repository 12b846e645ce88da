// Seldom seen parts of the protocol on a real mysql cluster.

import { available, skipWithout } from '../servers/available.js';
import { wireLevelTests } from './wire-level.js';

if (skipWithout(available('mysql')) === false) wireLevelTests('mysql');
