// A primary that freezes, on mysql; it owns nothing but the choice of the servers.

import { frozenSuite } from './frozen.js';

frozenSuite('mysql');
