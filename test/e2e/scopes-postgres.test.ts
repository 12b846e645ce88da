// The suite of scopes.ts on postgres.

import { scopeSuite } from './scopes.js';

scopeSuite('postgres');
