// scheelite demo: reads the command line of the demo; the tour itself is in demo/tour.ts.

import { type Command, EXIT } from './command.js';

export const demo: Command = {
  name: 'demo',
  details:
    'Starts a PostgreSQL primary with two replicas in a temporary folder, a proxy in front of them, prints the\n' +
    'connection strings, shows a tour, and leaves everything running until Ctrl-C, which cleans up.\n' +
    'Needs no configuration, no Docker and no root.',
  flags: {
    exit: {
      type: 'boolean',
      help: 'Ends after the tour: exit code 0 if every step did what it says; the last line is JSON.',
    },
  },

  async run(flags) {
    const { runDemo } = await import('./demo/tour.js');
    return (await runDemo({ exit: flags.on('exit') })) ? EXIT.ok : EXIT.failed;
  },
};
