// scheelite health: asks a running proxy whether it lives, or whether it is ready, for health checks of containers.

import { ADMIN_FLAGS, adminTarget, askAdminText } from './admin-client.js';
import { type Command, EXIT } from './command.js';

export const health: Command = {
  name: 'health',
  details:
    'Asks the admin server whether the process lives (/healthz); with --ready, whether every cluster can be served\n' +
    '(/readyz). Exit code 0 if so, 1 if not.',
  flags: { ...ADMIN_FLAGS, ready: { type: 'boolean', help: 'Asks whether every cluster can be served.' } },

  async run(flags, output) {
    const target = await adminTarget(flags);
    const answer = await askAdminText(target, 'GET', flags.on('ready') ? '/readyz' : '/healthz');
    (answer.status === 200 ? output.out : output.err)(answer.text.trimEnd());
    return answer.status === 200 ? EXIT.ok : EXIT.failed;
  },
};
