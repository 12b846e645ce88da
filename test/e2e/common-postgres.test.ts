// The suite that all kinds of cluster share, on PostgreSQL 18; it owns nothing but the choice of the servers.

import { commonSuite } from './common.js';

commonSuite('postgres');
