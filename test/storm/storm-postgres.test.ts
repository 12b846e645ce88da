// The correctness storm in short, on postgres.

import { shortStorm } from './short-storm.js';

shortStorm('postgres');
