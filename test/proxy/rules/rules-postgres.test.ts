// Routing rules and hints, on postgres; it owns nothing but the choice of the servers.

import { rulesSuite } from './suite.js';

rulesSuite('postgres');
