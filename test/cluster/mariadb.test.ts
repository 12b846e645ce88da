// The monitor and the failover on real MariaDB servers.

import { brokenApplier } from './broken-applier.js';
import { clusterSuite } from './suite.js';

clusterSuite('mariadb');
brokenApplier('mariadb');
