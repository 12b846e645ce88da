// The suite of workers-common.ts on MySQL.

import { workersCommonSuite } from './workers-common.js';

workersCommonSuite('mysql');
