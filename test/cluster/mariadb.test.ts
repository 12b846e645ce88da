// The monitor and the failover on real MariaDB servers.

import { clusterSuite } from './suite.js';

clusterSuite('mariadb');
