// The monitor and the failover on real MySQL servers.

import { clusterSuite } from './suite.js';

clusterSuite('mysql');
