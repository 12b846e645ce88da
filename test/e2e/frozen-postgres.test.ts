// A primary that freezes, on postgres; it owns nothing but the choice of the servers.

import { frozenSuite } from './frozen.js';

frozenSuite('postgres');
