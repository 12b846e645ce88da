// What pins a session of MariaDB, and what ends it.

import { pinTests } from './pins.js';

pinTests('mariadb');
