// The correctness storm in short, on mariadb.

import { shortStorm } from './short-storm.js';

shortStorm('mariadb');
