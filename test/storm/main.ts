// npm run storm: 500 clients against chaos on each kind of server; every reply is checked to be its client's own and in order.
// Exit status: 0 no violation, 1 a violation (each with its story on standard error) or a server that is not there, 2 wrong
// command line.

import { raiseFileLimit } from '../../bench/file-limit.js';
import { available } from '../servers/available.js';
import { command } from './command.js';
import { storm } from './storm.js';

process.exitCode = await command(process.argv.slice(2), {
  available,
  storm: (options) => {
    raiseFileLimit(options.clients * 4 + 1_000);
    return storm(options);
  },
  print: (line) => process.stdout.write(`${line}\n`),
  say: (line) => process.stderr.write(`${line}\n`),
});
