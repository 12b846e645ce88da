// The rules of the repository's layout, as functions from sources to violations; the lists at the top are the rules' data.

import { posix } from 'node:path';
import type { Import, Source } from './source.js';

/** Imports point down this list; folders of one row never import each other. */
export const FOLDERS: readonly (readonly string[])[] = [
  ['main.ts'],
  ['cli'],
  ['config'],
  ['proxy'],
  ['protocol'],
  ['mysql', 'postgres'],
  ['sql'],
  ['routing'],
  ['consistency'],
  ['pool'],
  ['cluster'],
  ['telemetry'],
  ['admin'],
  ['lib'],
];

/** Type-only imports of these are allowed from anywhere. */
const TYPES_FOR_ALL = ['protocol', 'config'];

/** What else may point up: from a folder, to a folder or file. */
export const ALLOWED: readonly { from: string; to: string; typeOnly: boolean; why: string }[] = [
  { from: 'routing', to: 'sql/statement.ts', typeOnly: true, why: 'a decision is about a class' },
  { from: 'telemetry', to: 'sql/statement.ts', typeOnly: true, why: 'routes and pin reasons are labels' },
  ...['mysql', 'postgres'].map((from) => ({
    from,
    to: 'protocol/node-control.ts',
    typeOnly: false,
    why: 'ProbeFailure is a class, because it is thrown',
  })),
];

/** These open no socket and read no clock, nor does anything that they import. */
const PURE: readonly RegExp[] = [
  /^src\/sql\//,
  /^src\/routing\//,
  /^src\/cluster\/reducer\.ts$/,
  /^src\/[^/]+\/wire\//,
];
const PURE_BUILTINS = [
  'node:assert',
  'node:buffer',
  'node:crypto',
  'node:module',
  'node:string_decoder',
  'node:util',
  'node:zlib',
];
const PURE_PACKAGES = ['libpg-query', 'pg-protocol'];
const CLOCKS: readonly (readonly [RegExp, string])[] = [
  [/\bDate\s*\.\s*now\b/, 'Date.now'],
  [/\bnew\s+Date\b/, 'new Date'],
  [/\bperformance\s*\./, 'performance'],
  [/\bhrtime\b/, 'process.hrtime'],
  [/\bset(?:Timeout|Interval|Immediate)\s*\(/, 'a timer'],
  [/\bmonotonicMs\b|\bsystemClock\b/, 'the clock of lib/clock.ts'],
  [/\bfetch\s*\(/, 'fetch'],
];

const MAX_LINES = 600;
/** Longer ones, each with its reason. */
const LONGER: ReadonlyMap<string, number> = new Map([
  // The life of one unit, in order; what it waits for, holds, has seen and may do are files of their own.
  ['src/proxy/session.ts', 700],
]);

export interface Violation {
  readonly rule: string;
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export function violationsOf(sources: readonly Source[]): Violation[] {
  const graph = new Graph(sources);
  return [
    ...sources.flatMap(fileRules),
    ...sources.flatMap((source) => importRules(source, graph)),
    ...cycles(graph),
    ...sources.flatMap((source) => purity(source, graph)),
  ];
}

interface Edge {
  readonly from: Source;
  readonly to: Source;
  readonly import: Import;
}

class Graph {
  readonly #byPath: ReadonlyMap<string, Source>;
  readonly #edges = new Map<Source, readonly Edge[]>();

  constructor(sources: readonly Source[]) {
    this.#byPath = new Map(sources.map((source) => [source.path, source]));
    for (const source of sources) {
      this.#edges.set(
        source,
        source.imports.flatMap((each) => {
          const to = this.target(source, each);
          return to === null ? [] : [{ from: source, to, import: each }];
        }),
      );
    }
  }

  /** Imports of files among the sources. */
  edges(source: Source): readonly Edge[] {
    return this.#edges.get(source) ?? [];
  }

  sources(): Iterable<Source> {
    return this.#edges.keys();
  }

  target(source: Source, { specifier }: Import): Source | null {
    if (!specifier.startsWith('.')) return null;
    const path = posix.join(posix.dirname(source.path), specifier).replace(/\.js$/, '.ts');
    return this.#byPath.get(path) ?? null;
  }
}

function fileRules(source: Source): Violation[] {
  const found: Violation[] = [];
  const report = (rule: string, line: number, message: string) =>
    found.push({ rule, path: source.path, line, message });
  const lines = source.text.split('\n');
  const count = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const limit = LONGER.get(source.path) ?? MAX_LINES;
  if (count > limit) report('size', limit + 1, `${count} lines; the limit is ${limit}`);

  const first = lines[0]?.startsWith('#!') ? 1 : 0;
  let last = first;
  while (lines[last]?.startsWith('// ')) last++;
  if (last === first) report('opening', first + 1, 'does not open with a // sentence on what it owns');
  else if (!/[.]( |$)/.test(lines.slice(first, last).join(' ')))
    report('opening', last, 'its opening comment has no full stop');

  each(source.code, /(?:^|[;{}]|\b(?:export|declare|const))\s*enum\s+\w/g, (line) =>
    report('enum', line, 'enum: use a union of string literals'),
  );
  each(source.code, /\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/g, (line) =>
    report('default-export', line, 'default export: give it a name'),
  );
  for (const line of source.computedImports) report('computed-import', line, 'import() of a computed name');
  lines.forEach((text, i) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is not ASCII is meant.
    if (/[^\x00-\x7f]/.test(text)) report('ascii', i + 1, 'a character that is not ASCII');
  });
  return found;
}

function each(code: string, pattern: RegExp, visit: (line: number) => void): void {
  for (const match of code.matchAll(pattern)) {
    visit(code.slice(0, match.index + match[0].length).split('\n').length);
  }
}

/** `sql` of `src/sql/x.ts`; null outside src. */
function folderOf(path: string): string | null {
  return /^src\/([^/]+)/.exec(path)?.[1] ?? null;
}

function rankOf(folder: string): number {
  return FOLDERS.findIndex((row) => row.includes(folder));
}

function importRules(source: Source, graph: Graph): Violation[] {
  const found: Violation[] = [];
  const folder = folderOf(source.path);
  if (folder === null) return found;
  if (rankOf(folder) < 0) {
    const message = `src/${folder} is not in the list of folders`;
    return [{ rule: 'folder', path: source.path, line: 1, message }];
  }
  for (const item of source.imports) {
    const report = (rule: string, message: string) =>
      found.push({ rule, path: source.path, line: item.line, message });
    if (!item.specifier.startsWith('.')) continue;
    const target = graph.target(source, item);
    if (target === null) {
      report('unresolved', `${item.specifier} leads to no file of src, or does not end in .js`);
      continue;
    }
    const to = folderOf(target.path);
    if (to === null) report('direction', `src may not import ${target.path}`);
    else if (!mayImport(folder, to, target.path, item.typeOnly)) {
      const how = item.typeOnly ? 'even a type of' : 'from';
      report('direction', `${folder} may not import ${how} ${to} (${item.specifier})`);
    }
  }
  return found;
}

function mayImport(from: string, to: string, path: string, typeOnly: boolean): boolean {
  if (from === to || rankOf(from) < rankOf(to)) return true;
  // mysql and postgres share a row: not even a type.
  if (rankOf(from) === rankOf(to)) return false;
  if (typeOnly && TYPES_FOR_ALL.includes(to)) return true;
  return ALLOWED.some(
    (pair) => pair.from === from && path.startsWith(`src/${pair.to}`) && (typeOnly || !pair.typeOnly),
  );
}

/** One violation for each cycle of imports that are there at run time, at its first file by name. */
function cycles(graph: Graph): Violation[] {
  const found: Violation[] = [];
  const state = new Map<Source, 'open' | 'done'>();
  const path: Edge[] = [];
  const visit = (source: Source): void => {
    state.set(source, 'open');
    for (const edge of graph.edges(source)) {
      if (edge.import.typeOnly) continue;
      path.push(edge);
      if (state.get(edge.to) === 'open') {
        const start = path.findIndex((step) => step.from === edge.to);
        const ring = path.slice(start).map((step) => step.from.path);
        found.push({
          rule: 'cycle',
          path: source.path,
          line: edge.import.line,
          message: `import cycle: ${[...ring, edge.to.path].join(' -> ')}`,
        });
      } else if (!state.has(edge.to)) visit(edge.to);
      path.pop();
    }
    state.set(source, 'done');
  };
  for (const source of graph.sources()) if (!state.has(source)) visit(source);
  return found;
}

/** What keeps a file from being pure by itself. */
function impurities(source: Source): { line: number; what: string }[] {
  const found: { line: number; what: string }[] = [];
  for (const { specifier, typeOnly, line } of source.imports) {
    if (typeOnly || specifier.startsWith('.')) continue;
    if (!PURE_BUILTINS.includes(specifier) && !PURE_PACKAGES.includes(specifier))
      found.push({ line, what: `imports ${specifier}` });
  }
  for (const [pattern, what] of CLOCKS) {
    each(source.code, new RegExp(pattern, 'g'), (line) => found.push({ line, what: `uses ${what}` }));
  }
  return found;
}

function purity(source: Source, graph: Graph): Violation[] {
  if (!PURE.some((pattern) => pattern.test(source.path))) return [];
  const found: Violation[] = impurities(source).map(({ line, what }) => ({
    rule: 'purity',
    path: source.path,
    line,
    message: `must open no socket and read no clock, but ${what}`,
  }));
  const seen = new Set([source]);
  const reach = (from: Source, first: Edge | null): void => {
    for (const edge of graph.edges(from)) {
      if (edge.import.typeOnly || seen.has(edge.to)) continue;
      seen.add(edge.to);
      const start = first ?? edge;
      for (const { what } of impurities(edge.to)) {
        const message = `must open no socket and read no clock, but imports ${edge.to.path}, which ${what}`;
        found.push({ rule: 'purity', path: source.path, line: start.import.line, message });
      }
      reach(edge.to, start);
    }
  };
  reach(source, null);
  return found;
}
