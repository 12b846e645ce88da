// The history checker in short, on postgres.

import { shortRun } from './short-run.js';

shortRun('postgres');
