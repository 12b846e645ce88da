// A primary that freezes, on mariadb; it owns nothing but the choice of the servers.

import { frozenSuite } from './frozen.js';

frozenSuite('mariadb');
