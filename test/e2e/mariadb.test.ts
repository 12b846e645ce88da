// What is MariaDB's own, on a cluster of MariaDB servers.

import { mysqlSuite } from './mysql-suite.js';

mysqlSuite('mariadb');
