// One TypeScript file as the layout rules see it: its imports, and its code without comments and the insides of strings.
// A scanner, not a compiler: it knows where strings, comments, templates and regular expressions begin and end.

export interface Import {
  readonly specifier: string;
  /** Erased by the compiler: `import type` and `export type`. */
  readonly typeOnly: boolean;
  /** `import(...)`: loaded when it is asked for. */
  readonly late: boolean;
  readonly line: number;
}

export interface Source {
  /** From the package root, with slashes: `src/sql/hint.ts`. */
  readonly path: string;
  readonly text: string;
  /** Same lines as `text`; comments are blank, a string is `"<number>"`. */
  readonly code: string;
  readonly imports: readonly Import[];
  /** Lines with an `import(...)` whose name is computed. */
  readonly computedImports: readonly number[];
}

export function parseSource(path: string, text: string): Source {
  const { code, strings } = strip(text);
  const imports: Import[] = [];
  const add = (typeOnly: boolean, index: string, at: number, late = false) =>
    imports.push({ specifier: strings[Number(index)]!, typeOnly, late, line: lineAt(code, at) });

  // The clause has no quote, semicolon or parenthesis; that keeps it within one statement.
  const statement = /\b(import|export)\s+(type\s+(?!from\b))?([\w$*{},\s]*?)\bfrom\s*"(\d+)"/g;
  for (const match of code.matchAll(statement)) add(match[2] !== undefined, match[4]!, match.index);
  for (const match of code.matchAll(/\bimport\s*"(\d+)"/g)) add(false, match[1]!, match.index);
  const computedImports: number[] = [];
  for (const match of code.matchAll(/\bimport\s*\(\s*(?:"(\d+)")?/g)) {
    if (match[1] === undefined) computedImports.push(lineAt(code, match.index));
    else add(false, match[1], match.index, true);
  }
  return { path, text, code, imports, computedImports };
}

function lineAt(code: string, at: number): number {
  let line = 1;
  for (let i = code.indexOf('\n'); i >= 0 && i < at; i = code.indexOf('\n', i + 1)) line++;
  return line;
}

/** After one of these a slash begins a regular expression; after a name, number or closing bracket it divides. */
const BEFORE_REGEX =
  /(?:^|[({[,;:=!&|?+\-*%^~<>}]|\b(?:return|typeof|case|of|in|do|else|void|await|yield))\s*$/;

function strip(text: string): { code: string; strings: string[] } {
  const strings: string[] = [];
  let code = '';
  let at = 0;
  /** Depth of braces at which each open `${` ends. */
  const templates: number[] = [];
  let braces = 0;

  const blank = (end: number) => {
    code += text.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const keep = (value: string, end: number) => {
    code += `"${strings.push(value) - 1}"${text.slice(at, end).replace(/[^\n]/g, '')}`;
    at = end;
  };
  /** From the position behind a backtick or a closing `}` to the closing backtick or the next `${`. */
  const template = (from: number) => {
    let i = from;
    while (i < text.length && text[i] !== '`' && !text.startsWith('${', i)) i += text[i] === '\\' ? 2 : 1;
    if (text[i] === '`') return keep(text.slice(from, i), i + 1);
    keep(text.slice(from, i), i + 2);
    code += ' + (';
    templates.push(braces++);
  };

  while (at < text.length) {
    const char = text[at]!;
    if (char === '#' && at === 0 && text.startsWith('#!')) blank(endOf(text, '\n', at));
    else if (text.startsWith('//', at)) blank(endOf(text, '\n', at));
    else if (text.startsWith('/*', at)) {
      const close = text.indexOf('*/', at + 2);
      blank(close < 0 ? text.length : close + 2);
    } else if (char === '"' || char === "'") {
      let i = at + 1;
      while (i < text.length && text[i] !== char && text[i] !== '\n') i += text[i] === '\\' ? 2 : 1;
      keep(text.slice(at + 1, i), i + 1);
    } else if (char === '`') template(at + 1);
    else if (char === '/' && BEFORE_REGEX.test(code.slice(-200))) {
      let i = at + 1;
      let inClass = false;
      while (i < text.length && text[i] !== '\n' && (inClass || text[i] !== '/')) {
        if (text[i] === '[') inClass = true;
        else if (text[i] === ']') inClass = false;
        i += text[i] === '\\' ? 2 : 1;
      }
      keep(text.slice(at + 1, i), i + 1);
    } else {
      if (char === '{') braces++;
      if (char === '}') {
        braces--;
        if (templates.at(-1) === braces) {
          templates.pop();
          code += ')';
          template(at + 1);
          continue;
        }
      }
      code += char;
      at++;
    }
  }
  return { code, strings };
}

function endOf(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from);
  return end < 0 ? text.length : end;
}
