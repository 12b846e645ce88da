// SASLprep: the examples of RFC 4013, and where PostgreSQL goes its own way. The expected values come from
// an independent implementation of the RFC's tables.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { preparePassword, saslprep } from '../../../src/postgres/auth/saslprep.js';

const CASES: [text: string, prepared: string | null, why: string][] = [
  ['I\u00adX', 'IX', 'RFC 4013: SOFT HYPHEN mapped to nothing'],
  ['user', 'user', 'RFC 4013: no transformation'],
  ['USER', 'USER', 'RFC 4013: case preserved'],
  ['\u00aa', 'a', 'RFC 4013: output is NFKC'],
  ['\u2168', 'IX', 'RFC 4013: output is NFKC'],
  ['\u0007', '\u0007', 'RFC 4013 prohibits it; PostgreSQL does not look at ASCII'],
  ['\u0007\u00e9', null, 'prohibited character'],
  ['\u0627\u0031', null, 'RFC 4013: bidirectional check'],
  ['\u06271\u0628', '\u06271\u0628', 'right to left at both ends'],
  ['\u0627a\u0628', null, 'left to right inside right to left'],
  ['pass\u00a0word', 'pass word', 'non-ASCII space'],
  ['\u200bx', ' x', 'zero width space is in both tables: a space'],
  ['e\u0301', '\u00e9', 'composed'],
  ['\ufb01x', 'fix', 'ligature'],
  ['x\u200d\u00e4', 'x\u00e4', 'joiner mapped to nothing'],
  ['\u{1f600}', null, 'not assigned in Unicode 3.2'],
  ['\u2168\u{1f600}', null, 'not assigned, so that nothing else is changed either'],
  ['\u00ad', null, 'nothing left'],
];

for (const [text, prepared, why] of CASES) {
  it(`${JSON.stringify(text)}: ${why}`, () => {
    assert.equal(saslprep(text), prepared);
    assert.deepEqual(preparePassword(text), Buffer.from(prepared ?? text));
  });
}
