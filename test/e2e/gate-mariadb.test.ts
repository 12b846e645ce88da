// The gate on MariaDB; it owns nothing but the choice of the servers.

import { gateSuite } from './gate-suite.js';

gateSuite('mariadb');
