// Histories of sessions on mysql, briefly.

import { shortHistories } from './histories.js';

shortHistories('mysql');
