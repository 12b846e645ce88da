// The suite of workers-common.ts on MariaDB.

import { workersCommonSuite } from './workers-common.js';

workersCommonSuite('mariadb');
