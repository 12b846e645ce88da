// The suite of workers-common.ts on PostgreSQL.

import { workersCommonSuite } from './workers-common.js';

workersCommonSuite('postgres');
