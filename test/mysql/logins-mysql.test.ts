// Logins while an administrator changes accounts and variables of a real mysql server.

import { available, skipWithout } from '../servers/available.js';
import { loginTests } from './logins.js';

if (skipWithout(available('mysql')) === false) loginTests('mysql');
