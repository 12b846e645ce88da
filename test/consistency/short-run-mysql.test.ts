// The history checker in short, on mysql.

import { shortRun } from './short-run.js';

shortRun('mysql');
