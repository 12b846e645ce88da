// The suite of scopes.ts on mariadb.

import { scopeSuite } from './scopes.js';

scopeSuite('mariadb');
