// Seldom seen parts of the protocol on a real mariadb cluster.

import { available, skipWithout } from '../servers/available.js';
import { wireLevelTests } from './wire-level.js';

if (skipWithout(available('mariadb')) === false) wireLevelTests('mariadb');
