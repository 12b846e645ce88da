// The gate on PostgreSQL 18; it owns nothing but the choice of the servers.

import { gateSuite } from './gate-suite.js';

gateSuite('postgres');
