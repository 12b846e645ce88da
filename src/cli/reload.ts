// scheelite reload: makes a running proxy take over its configuration file now, and says what came of it.

import type { ReloadReport } from '../admin/source.js';
import { ADMIN_FLAGS, adminTarget, askAdmin } from './admin-client.js';
import { type Command, CommandFailure, EXIT } from './command.js';

export const reload: Command = {
  name: 'reload',
  details:
    'Needs the token of the admin server, from the environment variable SCHEELITE_ADMIN_TOKEN or from --config. ' +
    'The same happens by itself when the file changes, and on SIGHUP.\nExit code 1 if the configuration was refused.',
  flags: { ...ADMIN_FLAGS, json: { type: 'boolean', help: 'Prints the report as JSON.' } },

  async run(flags, output) {
    const answer = await askAdmin(await adminTarget(flags), 'POST', '/api/v1/reload');
    if (answer.status !== 200 && answer.status !== 409) {
      const { error } = answer.body as { error?: string };
      throw new CommandFailure(error ?? `the admin server answered status ${answer.status}`);
    }
    const report = answer.body as ReloadReport;
    if (flags.on('json')) output.out(JSON.stringify(report, null, 2));
    else {
      for (const warning of report.warnings) output.err(`warning: ${warning}`);
      output.out([`configuration ${report.outcome}`, ...report.lines.map((line) => `  ${line}`)].join('\n'));
    }
    return report.outcome === 'refused' ? EXIT.failed : EXIT.ok;
  },
};
