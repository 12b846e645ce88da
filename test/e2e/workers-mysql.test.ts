// Several workers before a MySQL cluster.

import { workersSuite } from './workers.js';

workersSuite('mysql');
