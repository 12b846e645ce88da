// What is MySQL's own, on a cluster of MySQL servers.

import { mysqlSuite } from './mysql-suite.js';

mysqlSuite('mysql');
