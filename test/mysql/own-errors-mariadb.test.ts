// Errors of the proxy's own before a real mariadb server.

import { available, skipWithout } from '../servers/available.js';
import { ownErrorTests } from './own-errors.js';

if (skipWithout(available('mariadb')) === false) ownErrorTests('mariadb');
