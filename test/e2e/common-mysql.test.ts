import { commonSuite } from './common.js';

commonSuite('mysql');
