// Several workers before a MariaDB cluster.

import { workersSuite } from './workers.js';

workersSuite('mariadb');
