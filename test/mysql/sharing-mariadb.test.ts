// Shared server connections on a real mariadb cluster.

import { available, skipWithout } from '../servers/available.js';
import { sharingTests } from './sharing.js';

if (skipWithout(available('mariadb')) === false) sharingTests('mariadb');
