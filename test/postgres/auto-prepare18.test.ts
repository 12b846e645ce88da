// Auto-prepare on PostgreSQL 18; it owns nothing but the choice of the server.

import { autoPrepareSuite } from './auto-prepare.js';

autoPrepareSuite(18);
