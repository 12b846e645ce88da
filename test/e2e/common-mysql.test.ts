// The suite that all kinds of cluster share, on MySQL; it owns nothing but the choice of the servers.

import { commonSuite } from './common.js';

commonSuite('mysql');
