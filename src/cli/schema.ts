// scheelite schema: prints the JSON Schema of the configuration file; proxy.config.schema.json is its output.

import { jsonSchema } from '../config/schema.js';
import { type Command, EXIT } from './command.js';

export const schema: Command = {
  name: 'schema',
  details: 'Prints the JSON Schema of the configuration file, for editors and other tools.',
  flags: {},

  async run(_flags, output) {
    output.out(JSON.stringify(jsonSchema(), null, 2));
    return EXIT.ok;
  },
};
