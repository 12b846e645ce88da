// The suite of scopes.ts on mysql.

import { scopeSuite } from './scopes.js';

scopeSuite('mysql');
