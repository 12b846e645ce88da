// Reads a configuration file and the files of its secrets, and tells everything that is wrong with them at once.
// It keeps nothing and watches nothing.

import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve as resolvePath } from 'node:path';
import { describeError } from '../lib/errors.js';
import { JsonSyntaxError, type Place, parseJson } from './json.js';
import { fileSignature, type Loaded } from './loaded.js';
import type { Problem } from './problems.js';
import { parseStructure, resolveConfig, secretFilesOf } from './resolve.js';

const MAX_CONFIG_BYTES = 16 * 1024 * 1024;
/** A bundle of all authorities of a system is a quarter of that. */
const MAX_SECRET_BYTES = 1024 * 1024;

/** Never rejects: a file that cannot be read is a problem like others. */
export async function loadConfig(
  file: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Loaded> {
  const path = resolvePath(file);
  const files = new Map([[path, await fileSignature(path)]]);
  const failed = (problem: Problem): Loaded => ({
    path,
    config: null,
    problems: [problem],
    warnings: [],
    files,
  });

  let text: string;
  try {
    text = await readBounded(path, MAX_CONFIG_BYTES);
  } catch (error) {
    return failed({ path: '', message: `cannot read ${file}: ${readErrorText(error)}` });
  }
  let json: ReturnType<typeof parseJson>;
  try {
    json = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return failed({ path: '', message: `not valid JSON: ${error.message}`, ...error.place });
  }

  const { parsed, problems } = parseStructure(json.value);
  const placed = (all: readonly Problem[]) =>
    all.map((problem) => withPlace(problem, json.places)).sort(byPlace);
  if (parsed === null) {
    return { path, config: null, problems: placed(problems), warnings: [], files };
  }
  const baseDir = dirname(path);
  const secretFiles = new Map<string, string | Error>();
  for (const secretPath of secretFilesOf(parsed, baseDir)) {
    files.set(secretPath, await fileSignature(secretPath));
    secretFiles.set(secretPath, await readSecret(secretPath));
  }
  const resolved = resolveConfig(parsed, { env, baseDir, secretFiles });
  return {
    path,
    config: problems.length === 0 ? resolved.config : null,
    problems: placed([...problems, ...resolved.problems]),
    warnings: placed(resolved.warnings),
    files,
  };
}

/** The place of the path, or of what it stands in. */
function withPlace(problem: Problem, places: ReadonlyMap<string, Place>): Problem {
  let path = problem.path;
  for (;;) {
    const place = places.get(path);
    if (place !== undefined) return { ...problem, ...place };
    const cut = Math.max(path.lastIndexOf('.'), path.lastIndexOf('['));
    if (cut <= 0) return problem;
    path = path.slice(0, cut);
  }
}

function byPlace(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
}

async function readBounded(path: string, limitBytes: number): Promise<string> {
  const { size } = await stat(path);
  if (size > limitBytes) throw new Error(`${size} bytes; the limit is ${limitBytes}`);
  return readFile(path, 'utf8');
}

async function readSecret(path: string): Promise<string | Error> {
  try {
    return await readBounded(path, MAX_SECRET_BYTES);
  } catch (error) {
    return new Error(readErrorText(error));
  }
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

function readErrorText(error: unknown): string {
  return READ_ERRORS[(error as NodeJS.ErrnoException).code ?? ''] ?? describeError(error);
}
