// What a client is answered at random, with a real mariadb server.

import { available, skipWithout } from '../servers/available.js';
import { storyTests } from './stories/short.js';

if (skipWithout(available('mariadb')) === false) storyTests('mariadb');
