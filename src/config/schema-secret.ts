// How a secret stands in the configuration file: as it is, or by where it is to be read.
// It reads nothing.

import { z } from 'zod';

export const secretSchema = z.union([
  z.string(),
  z.strictObject({
    env: z.string().min(1).describe('Name of the environment variable that holds the secret.'),
  }),
  z.strictObject({
    file: z
      .string()
      .min(1)
      .describe(
        'File that holds the secret, relative to the configuration file; one trailing line break is dropped.',
      ),
  }),
]);

export type Secret = z.output<typeof secretSchema>;
