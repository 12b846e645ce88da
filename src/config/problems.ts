// What is wrong with a configuration, as one sentence with its path and its place in the file.
// It knows no schema: a running proxy has these, and not what finds them (load-apart.ts).

export interface Problem {
  /** As in `clusters[0].nodes[1].host`; "" is the whole file. */
  readonly path: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
}

export function pathText(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? String(part) : `.${String(part)}`;
  }
  return text;
}

/** `proxy.config.json:12:7: clusters[0].pool: unknown key "x"`, without what is not known. */
export function problemText(problem: Problem, file?: string): string {
  const place = problem.line === undefined ? '' : `:${problem.line}:${problem.column ?? 1}`;
  const where = file === undefined ? '' : `${file}${place}: `;
  return `${where}${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`;
}
