import { commonSuite } from './common.js';

commonSuite('postgres');
