// The layout of the repository as a failing test: who may import whom, what is pure, how a file looks.
// The rules are in layout/rules.ts; the second half plants violations and expects each to be found.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, posix } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ALLOWED, type Violation, violationsOf } from './layout/rules.js';
import { parseSource, type Source } from './layout/source.js';

// From dist/test/layout.test.js.
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

function sourcesBelow(folder: string): Source[] {
  return readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .sort()
    .map((path) => parseSource(`${folder}/${path}`, readFileSync(`${ROOT}${folder}/${path}`, 'utf8')));
}

function text(violations: readonly Violation[]): string {
  return violations.map(({ path, line, message }) => `${path}:${line}: ${message}`).join('\n');
}

describe('the repository', () => {
  const sources = sourcesBelow('src');

  test('is read', () => {
    assert.ok(sources.length > 20, `${sources.length} files`);
    const main = sources.find((source) => source.path === 'src/main.ts');
    assert.ok(main?.imports.some(({ specifier }) => specifier === './cli/serve.js'));
  });

  test('keeps the rules in src', () => {
    const violations = violationsOf(sources);
    assert.equal(violations.length, 0, `\n${text(violations)}`);
  });

  test('keeps the rules for files in test', () => {
    const violations = violationsOf(sourcesBelow('test'));
    // A computed import is how a test loads what was built elsewhere.
    const counted = violations.filter(({ rule }) => rule !== 'computed-import');
    assert.equal(counted.length, 0, `\n${text(counted)}`);
  });

  test('keeps what it does not need out of a process that serves', () => {
    const byPath = new Map(sources.map((source) => [source.path, source]));
    const entries = ['main', 'cli/serve', 'proxy/compose', 'proxy/workers/entry'];
    const protocols = ['postgres/protocol', 'mysql/protocol'];
    const loaded = new Set([...entries, ...protocols].map((name) => `src/${name}.ts`));
    for (const path of loaded) {
      const source = byPath.get(path);
      assert.ok(source, `${path} is not there`);
      for (const { specifier, typeOnly, late } of source.imports) {
        if (typeOnly || late) continue;
        assert.notEqual(specifier, 'zod', `${path} imports zod`);
        assert.notEqual(specifier, 'node:http', `${path} imports node:http: see lib/node-http.ts`);
        if (specifier.startsWith('.')) loaded.add(posix.join(dirname(path), specifier.replace(/js$/, 'ts')));
      }
    }
  });

  test('needs every exception that the rules allow', () => {
    for (const { from, to, typeOnly } of ALLOWED) {
      const used = sources.some(
        (source) =>
          source.path.startsWith(`src/${from}/`) &&
          source.imports.some(
            (item) => item.typeOnly === typeOnly && item.specifier.endsWith(to.replace(/\.ts$/, '.js')),
          ),
      );
      assert.ok(used, `nothing in ${from} imports ${to}: take the exception out`);
    }
  });
});

const OPENING = '// Owns nothing; for this test.\n\n';

// biome-ignore lint/suspicious/noTemplateCurlyInString: code of a planted file.
const QUOTED_IN_TEMPLATE = "const s = `${'`'} import '../proxy/b.js' ${{ a: `}` }.a}`;";
// biome-ignore lint/suspicious/noTemplateCurlyInString: code of a planted file.
const AFTER_TEMPLATE = "const s = `a ${1 / 2} // `; import { x } from '../proxy/b.js';";

/** Rule names found in a tree of planted files. */
function found(files: Record<string, string>): string[] {
  const sources = Object.entries(files).map(([path, code]) => parseSource(path, OPENING + code));
  return violationsOf(sources).map(({ rule }) => rule);
}

describe('planted violations', () => {
  const target = 'export const x = 1;\n';

  for (const [from, to, statement, expected] of [
    ['src/sql/a.ts', 'src/proxy/b.ts', "import { x } from '../proxy/b.js';", ['direction']],
    ['src/sql/a.ts', 'src/proxy/b.ts', "import type { x } from '../proxy/b.js';", ['direction']],
    ['src/sql/a.ts', 'src/proxy/b.ts', "import type {\n  x,\n  y,\n} from '../proxy/b.js';", ['direction']],
    ['src/sql/a.ts', 'src/proxy/b.ts', "export * from '../proxy/b.js';", ['direction']],
    ['src/sql/a.ts', 'src/proxy/b.ts', "import '../proxy/b.js';", ['direction']],
    ['src/pool/a.ts', 'src/proxy/b.ts', "const m = await import('../proxy/b.js');", ['direction']],
    ['src/mysql/a.ts', 'src/postgres/b.ts', "import { x } from '../postgres/b.js';", ['direction']],
    ['src/postgres/a.ts', 'src/mysql/b.ts', "import type { x } from '../mysql/b.js';", ['direction']],
    ['src/pool/a.ts', 'src/protocol/b.ts', "import { x } from '../protocol/b.js';", ['direction']],
    ['src/pool/a.ts', 'src/protocol/b.ts', "import { type x } from '../protocol/b.js';", ['direction']],
    ['src/pool/a.ts', 'src/protocol/b.ts', "import type { x } from '../protocol/b.js';", []],
    ['src/pool/a.ts', 'src/config/b.ts', "import type * as all from '../config/b.js';", []],
    [
      'src/mysql/a.ts',
      'src/protocol/node-control.ts',
      "import { x } from '../protocol/node-control.js';",
      [],
    ],
    [
      'src/pool/a.ts',
      'src/protocol/node-control.ts',
      "import { x } from '../protocol/node-control.js';",
      ['direction'],
    ],
    ['src/proxy/a.ts', 'src/mysql/b.ts', "import { x } from '../mysql/b.js';", []],
    ['src/proxy/a.ts', 'src/lib/b.ts', "import x, { y } from '../lib/b.js';", []],
    ['src/proxy/a.ts', 'src/lib/b.ts', "import { x } from '../lib/c.js';", ['unresolved']],
    ['src/proxy/a.ts', 'src/lib/b.ts', "import { x } from '../lib/b';", ['unresolved']],
    ['src/web/a.ts', 'src/lib/b.ts', "import { x } from '../lib/b.js';", ['folder']],
    // What only looks like an import.
    ['src/sql/a.ts', 'src/proxy/b.ts', "// import { x } from '../proxy/b.js';", []],
    ['src/sql/a.ts', 'src/proxy/b.ts', "/* import '../proxy/b.js' */ const r = /[/'\"]import/;", []],
    ['src/sql/a.ts', 'src/proxy/b.ts', 'const s = "import { x } from \'../proxy/b.js\'";', []],
    ['src/sql/a.ts', 'src/proxy/b.ts', QUOTED_IN_TEMPLATE, []],
    // And what hides one.
    ['src/sql/a.ts', 'src/proxy/b.ts', AFTER_TEMPLATE, ['direction']],
    [
      'src/sql/a.ts',
      'src/proxy/b.ts',
      "const r = a / b; import { x } from '../proxy/b.js'; // /",
      ['direction'],
    ],
    ['src/sql/a.ts', 'src/proxy/b.ts', "const r = /'/; import { x } from '../proxy/b.js';", ['direction']],
  ] as const) {
    test(`${from}: ${statement.replace(/\s+/g, ' ')} -> ${expected.join() || 'allowed'}`, () => {
      assert.deepEqual(found({ [from]: `${statement}\n`, [to]: target }), expected);
    });
  }

  test('a cycle of values is found once, one of types is none', () => {
    const ring = (word: string) => ({
      'src/pool/a.ts': `import { x } from './b.js';\n`,
      'src/pool/b.ts': `import { x } from './c.js';\n`,
      'src/pool/c.ts': `import ${word} { x } from './a.js';\n`,
    });
    assert.deepEqual(found(ring('')), ['cycle']);
    assert.deepEqual(found(ring('type')), []);
    const sources = Object.entries(ring('')).map(([path, code]) => parseSource(path, OPENING + code));
    const [cycle] = violationsOf(sources);
    assert.equal(
      cycle?.message,
      'import cycle: src/pool/a.ts -> src/pool/b.ts -> src/pool/c.ts -> src/pool/a.ts',
    );
  });

  for (const [path, code, expected] of [
    ['src/sql/a.ts', "import { connect } from 'node:net';", ['purity']],
    ['src/routing/a.ts', "import { readFileSync } from 'node:fs';", ['purity']],
    ['src/sql/a.ts', "import type { Socket } from 'node:net';", []],
    ['src/sql/a.ts', "import { parse } from 'libpg-query';", []],
    ['src/sql/a.ts', "import pg from 'pg';", ['purity']],
    ['src/cluster/reducer.ts', 'const now = Date.now();', ['purity']],
    ['src/cluster/monitor.ts', 'const now = Date.now();', []],
    ['src/mysql/wire/a.ts', 'const now = performance.now();', ['purity']],
    ['src/mysql/a.ts', 'const now = performance.now();', []],
    ['src/postgres/wire/deep/a.ts', 'setTimeout(() => {}, 1);', ['purity']],
    ['src/routing/a.ts', '// Date.now() is not for here\nconst s = "performance.now";', []],
    ['src/pool/a.ts', 'enum Color { Red }', ['enum']],
    ['src/pool/a.ts', 'export const enum Color { Red }', ['enum']],
    ['src/pool/a.ts', 'const text = "enum Color { Red }"; // enum Color', []],
    ['src/pool/a.ts', 'export default function f() {}', ['default-export']],
    ['src/pool/a.ts', 'const f = 1;\nexport { f as default };', ['default-export']],
    ['src/pool/a.ts', 'const m = import(name);', ['computed-import']],
    ['src/pool/a.ts', 'const s = "\u00e9";', ['ascii']],
    ['src/pool/a.ts', '\n'.repeat(597), []],
    ['src/pool/a.ts', '\n'.repeat(600), ['size']],
  ] as const) {
    test(`${path}: ${code.slice(0, 60).trim().replace(/\s+/g, ' ')} -> ${expected.join() || 'allowed'}`, () => {
      assert.deepEqual(found({ [path]: `${code}\n` }), expected);
    });
  }

  test('a clock behind an import is found', () => {
    assert.deepEqual(
      found({
        'src/sql/a.ts': "import { b } from '../lib/b.js';\n",
        'src/lib/b.ts': "import { c } from './c.js';\n",
        'src/lib/c.ts': 'export const c = () => performance.now();\n',
      }),
      ['purity'],
    );
  });

  for (const [opening, expected] of [
    ["import 'node:fs';\n", ['opening']],
    ['/** A block. */\n', ['opening']],
    ['// TODO\n', ['opening']],
    ['// Owns this; knows nothing of that.\n', []],
    ['#!/usr/bin/env node\n// Owns this; knows nothing of that.\n', []],
    ['// Owns this, which takes\n// two lines to say.\n', []],
  ] as const) {
    test(`opens with ${JSON.stringify(opening)} -> ${expected.join() || 'allowed'}`, () => {
      assert.deepEqual(
        violationsOf([parseSource('src/pool/a.ts', `${opening}\nexport const x = 1;\n`)]).map(
          ({ rule }) => rule,
        ),
        expected,
      );
    });
  }
});
