// Logins while an administrator changes accounts and variables of a real mariadb server.

import { available, skipWithout } from '../servers/available.js';
import { loginTests } from './logins.js';

if (skipWithout(available('mariadb')) === false) loginTests('mariadb');
