// What a client is answered at random, with a real mysql server.

import { available, skipWithout } from '../servers/available.js';
import { storyTests } from './stories/short.js';

if (skipWithout(available('mysql')) === false) storyTests('mysql');
