// The correctness storm in short, on mysql.

import { shortStorm } from './short-storm.js';

shortStorm('mysql');
