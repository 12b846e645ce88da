// The monitor and the failover on real PostgreSQL 15 servers.

import { clusterSuite } from './suite.js';

clusterSuite('postgres', 15);
