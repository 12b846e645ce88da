// What a command is, how its command line is read, and the exit codes that all commands share.
// It knows no command.

import { parseArgs } from 'node:util';
import { suggestion } from '../config/suggestion.js';

/** The same for every command; the reference repeats this table. */
export const EXIT = {
  ok: 0,
  /** It was understood, and did not work. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The configuration is invalid; starting again does not help. */
  config: 3,
} as const;

export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export const standardOutput: Output = {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
};

export interface Flag {
  readonly type: 'string' | 'boolean';
  /** What stands for the value in the help, for strings. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly name: string;
  /** What it does, in sentences. */
  readonly details: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** One argument without a name. */
  readonly positional?: { readonly name: string; readonly help: string };
  /** Answers the exit code. */
  run(flags: Flags, output: Output): Promise<number>;
}

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A command cannot go on; the text is for the user. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The values of a command line, by the names of the command's flags. */
export class Flags {
  readonly #values: Readonly<Record<string, string | boolean | undefined>>;

  /** Null: not given. */
  readonly positional: string | null;

  constructor(
    values: Readonly<Record<string, string | boolean | undefined>>,
    positional: string | null = null,
  ) {
    this.#values = values;
    this.positional = positional;
  }

  text(name: string): string | null {
    const value = this.#values[name];
    return typeof value === 'string' ? value : null;
  }

  on(name: string): boolean {
    return this.#values[name] === true;
  }
}

const COMMON: Readonly<Record<string, Flag>> = { help: { type: 'boolean', help: 'Says this.' } };

/** Throws UsageError. */
export function parseFlags(command: Command, args: readonly string[]): Flags {
  const flags = { ...command.flags, ...COMMON };
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: Object.fromEntries(
        Object.entries(flags).map(([name, flag]) => [
          name,
          name === 'help' ? { type: flag.type, short: 'h' } : { type: flag.type },
        ]),
      ),
      strict: true,
      allowPositionals: command.positional !== undefined,
    });
    for (const [name, value] of Object.entries(values)) {
      if (value === '') throw new UsageError(`--${name} needs a value`);
    }
    if (positionals.length > 1) throw new UsageError(`unexpected argument "${positionals[1]}"`);
    return new Flags(values as Record<string, string | boolean | undefined>, positionals[0] ?? null);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(usageText(error, Object.keys(flags)));
  }
}

function usageText(error: unknown, names: readonly string[]): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? '';
  switch (code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION': {
      const hint = suggestion(
        quoted.replace(/^-+/, ''),
        names.map((name) => name),
      );
      return `unknown option ${quoted}${hint.replace(/"(.+)"/, '--$1').replace(/^; known keys: .*/, '')}`;
    }
    case 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL':
      return `unexpected argument "${quoted}"`;
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE': {
      const flag = /--[\w-]+/.exec(quoted)?.[0] ?? quoted;
      return message.includes('does not take') ? `${flag} takes no value` : `${flag} needs a value`;
    }
    default:
      throw error;
  }
}

export function helpText(command: Command): string {
  const { positional } = command;
  const rows = Object.entries({ ...command.flags, ...COMMON }).map(([name, flag]) => [
    `  --${name}${flag.type === 'string' ? ` <${flag.value ?? 'value'}>` : ''}${name === 'help' ? ', -h' : ''}`,
    flag.help,
  ]);
  if (positional !== undefined) rows.unshift([`  <${positional.name}>`, positional.help]);
  const width = Math.max(...rows.map(([left]) => left!.length)) + 2;
  const lines = rows.map(([left, right]) => `${left!.padEnd(width)}${right}`);
  const usage = `scheelite ${command.name} [options]${positional === undefined ? '' : ` <${positional.name}>`}`;
  return `Usage: ${usage}\n\n${command.details}\n\nOptions:\n${lines.join('\n')}`;
}
