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

/** Those that failed, a file whose process ended by itself among them. */
async function failedOf(files: readonly string[], concurrency: number): Promise<string[]> {
  const failed = new Set<string>();
  const events = run({ files: [...files], concurrency, timeout: TIMEOUT_MS });
  events.on('test:fail', ({ file, nesting, name }) => {
    if (nesting === 0) failed.add(relative('.', file ?? name));
  });
  const report = events.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await new Promise((resolve, reject) => report.on('end', resolve).on('error', reject));
  return [...failed];
}

const again = process.argv.includes('--again');
const files = process.argv.slice(2).filter((each) => each !== '--again');
const failed = await failedOf(files, AT_A_TIME);
if (failed.length > 0) process.exitCode = 1;
if (again && failed.length > 0 && failed.length <= MOST_AGAIN && !failed.some((file) => ONCE.test(file))) {
  console.log(`\n== once more, alone: ${failed.join(' ')}`);
  const still = await failedOf(failed, 1);
  if (still.length === 0) process.exitCode = 0;
  for (const file of failed)
    if (!still.includes(file)) console.log(`\ntest/run: UNSTEADY, failed beside others: ${file}`);
}
