// Prepared statements on a shared server connection of a real mariadb cluster.

import { available, skipWithout } from '../servers/available.js';
import { preparedStatementTests } from './prepared-statements.js';

if (skipWithout(available('mariadb')) === false) preparedStatementTests('mariadb');
