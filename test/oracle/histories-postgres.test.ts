// Histories of sessions on postgres, briefly.

import { shortHistories } from './histories.js';

shortHistories('postgres');
