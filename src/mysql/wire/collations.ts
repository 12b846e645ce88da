// Which character set a collation belongs to, as far as it changes how statement text reads; everything else is ASCII-safe.
// Ids: INFORMATION_SCHEMA.COLLATIONS, the same in MySQL and MariaDB; a handshake carries the low byte only.

/** Character sets in which the second byte of a character can look like a backslash or a quote. */
const UNSAFE: readonly (readonly [string, readonly number[]])[] = [
  ['big5', [1, 84]],
  ['sjis', [13, 88]],
  ['gbk', [28, 87]],
  ['cp932', [95, 96]],
  ['gb18030', [248, 249, 250]],
];

const BY_ID = new Map<number, string>(UNSAFE.flatMap(([name, ids]) => ids.map((id) => [id, name] as const)));

/** "gbk", "sjis" ... where the lexer must know; "utf8mb4" stands for all in which ASCII bytes are ASCII. */
export function characterSetOfCollation(id: number): string {
  return BY_ID.get(id) ?? 'utf8mb4';
}
