// Routing rules and hints, on mysql; it owns nothing but the choice of the servers.

import { rulesSuite } from './suite.js';

rulesSuite('mysql');
