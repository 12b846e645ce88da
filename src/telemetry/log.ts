// The log: pino with redaction, written without making the data path wait; it knows no configuration file and no part that logs.
// Written to standard output in the background; what is waiting is bounded, and `flush` waits for it.

import { Writable } from 'node:stream';
import pino from 'pino';
import type { LogConfig, LogLevel } from '../config/schema.js';

export type Log = pino.Logger;

export interface OpenLog {
  readonly log: Log;
  /** Of the log and of all that were derived from it; by itself a derived one keeps the level of its birth. */
  setLevel(level: LogLevel): void;
  /** Lines of another process's log, as they are. */
  writeLines(lines: string): void;
  /** Resolves once everything logged so far has been handed to the operating system, or after 2 s. */
  flush(): Promise<void>;
}

/** Beyond this, lines are dropped: a log that nobody reads must not take the memory. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const FLUSH_TIMEOUT_MS = 2_000;

/** Names that never reach the log, at the top or up to two levels down in what is logged. */
const SECRET_NAMES = [
  'password',
  'token',
  'verifier',
  'secret',
  'credential',
  'clientKey',
  'serverKey',
  'storedKey',
  'stage1',
  'authorization',
  'hash',
];
const REDACTED_PATHS = SECRET_NAMES.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

export function openLog(config: LogConfig, write?: (text: string) => void): OpenLog {
  const children = new Children();
  const options: pino.LoggerOptions = {
    level: config.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
    onChild: (child) => children.add(child),
  };
  const open = (
    destination: pino.DestinationStream,
    writeLines: (lines: string) => void,
    flush: (done: () => void) => void,
  ): OpenLog => {
    const log = pino(options, destination);
    return {
      log,
      setLevel: (level) => {
        log.level = level;
        children.setLevel(level);
      },
      writeLines,
      flush: () => withTimeout(flush),
    };
  };
  if (write !== undefined) return open(lineStream(config, write), write, (done) => done());
  if (config.format === 'pretty') {
    const toStdout = lineStream(config, (text) => process.stdout.write(text));
    const writeLines = (lines: string) => void process.stdout.write(lines);
    return open(toStdout, writeLines, (done) => void process.stdout.write('', () => done()));
  }
  const destination = pino.destination({ dest: 1, sync: false, maxLength: MAX_WAITING_BYTES });
  // A reader that has gone (EPIPE) must not end the proxy.
  destination.on('error', () => {});
  const writeLines = (lines: string) => void destination.write(lines);
  return open(destination, writeLines, (done) => destination.flush(() => done()));
}

/** The derived logs that still exist. */
class Children {
  #refs: WeakRef<pino.Logger>[] = [];
  #pruneAt = 64;

  add(child: pino.Logger): void {
    this.#refs.push(new WeakRef(child));
    if (this.#refs.length < this.#pruneAt) return;
    this.#refs = this.#refs.filter((ref) => ref.deref() !== undefined);
    this.#pruneAt = 2 * this.#refs.length + 64;
  }

  setLevel(level: LogLevel): void {
    for (const ref of this.#refs) {
      const child = ref.deref();
      if (child !== undefined) child.level = level;
    }
  }
}

function withTimeout(flush: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, FLUSH_TIMEOUT_MS);
    flush(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function lineStream(config: LogConfig, write: (text: string) => void): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      write(config.format === 'pretty' ? prettyLine(chunk) : chunk);
      done();
    },
  });
}

/** `12:34:56.789 WARN  message key=value`, from one line of JSON. */
export function prettyLine(json: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const fields = Object.entries(rest).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const stack = (err as { stack?: string } | undefined)?.stack;
  return `${clock} ${String(level).toUpperCase().padEnd(5)} ${msg ?? ''}${fields.join('')}${stack ? `\n${stack}` : ''}\n`;
}

function fieldText(value: unknown): string {
  return typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value);
}
