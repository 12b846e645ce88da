// Prepared statements on a shared server connection of a real mysql cluster.

import { available, skipWithout } from '../servers/available.js';
import { preparedStatementTests } from './prepared-statements.js';

if (skipWithout(available('mysql')) === false) preparedStatementTests('mysql');
