// The monitor and the failover on real MySQL servers.

import { brokenApplier } from './broken-applier.js';
import { clusterSuite } from './suite.js';

clusterSuite('mysql');
brokenApplier('mysql');
