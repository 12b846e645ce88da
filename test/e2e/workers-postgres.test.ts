// Several workers before a PostgreSQL cluster.

import { workersSuite } from './workers.js';

workersSuite('postgres');
