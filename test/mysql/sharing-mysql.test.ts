// Shared server connections on a real mysql cluster.

import { available, skipWithout } from '../servers/available.js';
import { sharingTests } from './sharing.js';

if (skipWithout(available('mysql')) === false) sharingTests('mysql');
