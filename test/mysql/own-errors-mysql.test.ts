// Errors of the proxy's own before a real mysql server.

import { available, skipWithout } from '../servers/available.js';
import { ownErrorTests } from './own-errors.js';

if (skipWithout(available('mysql')) === false) ownErrorTests('mysql');
