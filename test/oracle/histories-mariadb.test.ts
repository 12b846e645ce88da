// Histories of sessions on mariadb, briefly.

import { shortHistories } from './histories.js';

shortHistories('mariadb');
