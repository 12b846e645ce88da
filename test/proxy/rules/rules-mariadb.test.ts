// Routing rules and hints, on mariadb; it owns nothing but the choice of the servers.

import { rulesSuite } from './suite.js';

rulesSuite('mariadb');
