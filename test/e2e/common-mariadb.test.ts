import { commonSuite } from './common.js';

commonSuite('mariadb');
