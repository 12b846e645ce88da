#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=32
// Starts a command; it knows only the names of the commands.

import {
  type Command,
  CommandFailure,
  EXIT,
  helpText,
  parseFlags,
  standardOutput,
  UsageError,
} from './cli/command.js';
import { packageVersion } from './cli/version.js';
import { suggestion } from './config/suggestion.js';

/** Loaded when needed: `status` must not pay for PostgreSQL's grammar. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  serve: { summary: 'Runs the proxy.', load: async () => (await import('./cli/serve.js')).serve },
  check: {
    summary: 'Checks a configuration and the nodes that it names.',
    load: async () => (await import('./cli/check.js')).check,
  },
  status: {
    summary: 'Shows nodes, roles, lag and pools of a running proxy.',
    load: async () => (await import('./cli/status.js')).status,
  },
  top: {
    summary: 'Shows what statements cost in a running proxy, renewed every few seconds.',
    load: async () => (await import('./cli/top.js')).top,
  },
  sessions: {
    summary: 'Lists the sessions of a running proxy, and what they hold.',
    load: async () => (await import('./cli/sessions.js')).sessions,
  },
  explain: {
    summary: 'Says what a statement is and where a running proxy would send it now.',
    load: async () => (await import('./cli/explain.js')).explain,
  },
  reload: {
    summary: 'Makes a running proxy take over its changed configuration.',
    load: async () => (await import('./cli/reload.js')).reload,
  },
  health: {
    summary: 'Asks a running proxy whether it lives, for health checks.',
    load: async () => (await import('./cli/health.js')).health,
  },
  demo: {
    summary: 'Starts PostgreSQL, a proxy in front of it, and shows what it does.',
    load: async () => (await import('./cli/demo.js')).demo,
  },
  schema: {
    summary: 'Prints the JSON Schema of the configuration file.',
    load: async () => (await import('./cli/schema.js')).schema,
  },
};

function overview(): string {
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`);
  return (
    'Usage: scheelite <command> [options]\n\n' +
    'A transparent proxy for MySQL, MariaDB and PostgreSQL.\n\n' +
    `Commands:\n${commands.join('\n')}\n\n` +
    '"scheelite <command> --help" says more. Exit codes: 0 done, 1 failed, 2 wrong command line, 3 invalid configuration.'
  );
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    standardOutput.err(overview());
    return EXIT.usage;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    standardOutput.out(overview());
    return EXIT.ok;
  }
  if (name === '--version' || name === '-v') {
    standardOutput.out(`scheelite ${packageVersion()}`);
    return EXIT.ok;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const hint = suggestion(name, Object.keys(COMMANDS)).replace('; known keys: ', '; there is: ');
    standardOutput.err(`scheelite: unknown ${name.startsWith('-') ? 'option' : 'command'} "${name}"${hint}`);
    return EXIT.usage;
  }
  const command = await entry.load();
  try {
    const flags = parseFlags(command, rest);
    if (flags.on('help')) {
      standardOutput.out(helpText(command));
      return EXIT.ok;
    }
    return await command.run(flags, standardOutput);
  } catch (error) {
    if (error instanceof UsageError) {
      standardOutput.err(
        `scheelite ${name}: ${error.message}\n"scheelite ${name} --help" lists the options.`,
      );
      return EXIT.usage;
    }
    if (error instanceof CommandFailure) {
      standardOutput.err(error.message);
      return error.exitCode;
    }
    throw error;
  }
}

const code = await main(process.argv.slice(2));
// What has been written to a pipe must reach it; what a command has left open must not keep the process.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
