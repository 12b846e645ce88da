// The gate on MySQL; it owns nothing but the choice of the servers.

import { gateSuite } from './gate-suite.js';

gateSuite('mysql');
