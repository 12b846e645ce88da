// What pins a session of MySQL, and what ends it.

import { pinTests } from './pins.js';

pinTests('mysql');
