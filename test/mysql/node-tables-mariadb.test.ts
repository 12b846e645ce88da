// Tables that tell of one server, with MariaDB.

import { nodeTables } from './node-tables.js';

nodeTables('mariadb');
