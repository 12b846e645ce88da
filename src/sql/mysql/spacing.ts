// How shapes are laid out: which words keep a space before a bracket. It knows words only, no statement.

/** Lists of words, as functions.ts keeps its own. */
const words = (text: string) => text.trim().split(/\s+/);

/**
 * Names that are functions only when the bracket follows at once; with a space they are stored functions, unless
 * IGNORE_SPACE is set (manual, "Function Name Parsing and Resolution"). The shape must show the difference.
 */
export const spaceSensitive: ReadonlySet<string> = new Set(
  words(`
    adddate bit_and bit_or bit_xor cast count curdate curtime date_add date_sub extract group_concat max mid min now
    position session_user std stddev stddev_pop stddev_samp subdate substr substring sum sysdate system_user trim
    variance var_pop var_samp json_arrayagg json_objectagg median st_collect lead lag
    cume_dist dense_rank first_value nth_value ntile percent_rank percentile_cont percentile_disc rank row_number`),
);

const spaced = words(`
  all and any as between by case distinct div else except exists from group having in intersect interval into
  join key like limit not of on or order over partition primary regexp rlike row rows select set some straight_join
  table then union unique update using values value when where with xor index references check returning end do call
  columns window recursive ignore force use return if while until`);

export const spacing = { none: 0, always: 1, asWritten: 2 } as const;

/** A cheap hash of a lower-case word at `start` (it may collide: a collision moves a space, for that word always alike). */
export function wordSlot(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  return (
    (length * 1031 + bytes[start]! * 7 + bytes[end - 1]! * 131 + bytes[start + (length >> 1)]! * 37) &
    (slots - 1)
  );
}

const slots = 16_384;

/** By `wordSlot`: one of `spacing`. Names that are space-sensitive win over a collision: their class depends on it. */
export const spacingBySlot: Uint8Array = (() => {
  const table = new Uint8Array(slots);
  const put = (list: Iterable<string>, value: number) => {
    for (const word of list) {
      const bytes = Buffer.from(word, 'latin1');
      table[wordSlot(bytes, 0, bytes.length)] = value;
    }
  };
  put(spaced, spacing.always);
  put(spaceSensitive, spacing.asWritten);
  return table;
})();
