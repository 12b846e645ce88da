// A program for test/run: runs the test files it is given, two at a time, and with `--again` what has failed once more, alone.

import { relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** A test that stands on real servers keeps one core busy by itself. */
const AT_A_TIME = 2;
/** Only there so that a hang is reported by name instead of by CI's clock. */
const TIMEOUT_MS = 1_500_000;

/**
 * On a machine with two busy cores one file or two may find it too slow for what they wait for; of more something is wrong. What
 * judges replies at random has no second try: a reply to the wrong client is rare by nature.
 */
const MOST_AGAIN = 2;
const ONCE = /\/(?:storm-|short-run|oracle\/|pipelines|stories)/;

interface Outcome {
  readonly ok: boolean;
  /** The files that failed, as far as it is known which. */
  readonly failed: readonly string[];
}

async function outcomeOf(files: readonly string[], concurrency: number): Promise<Outcome> {
  const failed = new Set<string>();
  let ok = true;
  const events = run({ files: [...files], concurrency, timeout: TIMEOUT_MS });
  const add = (file: string | undefined): void => {
    if (file !== undefined && files.includes(relative('.', file))) failed.add(relative('.', file));
  };
  events.on('test:summary', ({ file, success }) => {
    if (success) return;
    ok = false;
    add(file);
  });
  // A file whose process ended by itself has no summary. Of a test this is where it is written, which may be elsewhere.
  events.on('test:fail', ({ file }) => {
    ok = false;
    add(file);
  });
  const report = events.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await new Promise((resolve, reject) => report.on('end', resolve).on('error', reject));
  return { ok, failed: [...failed] };
}

const again = process.argv.includes('--again');
const files = process.argv.slice(2).filter((each) => each !== '--again');
const { ok, failed } = await outcomeOf(files, AT_A_TIME);
process.exitCode = ok ? 0 : 1;
const mayAgain = failed.length > 0 && failed.length <= MOST_AGAIN && !failed.some((file) => ONCE.test(file));
if (again && !ok && mayAgain) {
  console.log(`\n== once more, alone: ${failed.join(' ')}`);
  const second = await outcomeOf(failed, 1);
  process.exitCode = second.ok ? 0 : 1;
  for (const file of failed)
    if (!second.failed.includes(file)) console.log(`\ntest/run: UNSTEADY, failed beside others: ${file}`);
}
