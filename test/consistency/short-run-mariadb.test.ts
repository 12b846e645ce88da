// The history checker in short, on mariadb.

import { shortRun } from './short-run.js';

shortRun('mariadb');
