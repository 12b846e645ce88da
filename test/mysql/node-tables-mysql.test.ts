// Tables that tell of one server, with MySQL.

import { nodeTables } from './node-tables.js';

nodeTables('mysql');
