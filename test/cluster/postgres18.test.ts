// The monitor and the failover on real PostgreSQL 18 servers.

import { clusterSuite } from './suite.js';

clusterSuite('postgres', 18);
