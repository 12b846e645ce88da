// DateStyle, the one setting whose SET may say half of it: what must be repeated so that the other half is there too.
// It knows no session; which words are a style and which an order is PostgreSQL's (check_datestyle).

export const DATE_STYLE = 'datestyle';

const STYLES = 'iso|sql|postgres\\w*|german';
const ORDERS = 'ymd|dmy|euro\\w*|mdy|us|noneuro\\w*';
const STYLE = new RegExp(`^(?:${STYLES})$`);
const ORDER = new RegExp(`^(?:${ORDERS})$`);

/** What `dateStyleBehind` adds; in front of it is a statement that says all. */
const HALVES = new RegExp(
  `(?:; SET datestyle TO '(?<style>${STYLES})')?(?:; SET datestyle TO '(?<order>${ORDERS})')?$`,
);

/**
 * The text that brings any server connection to what `sql`, which sets `value`, makes of a session that `before` has brought to
 * where it is; left out: it has the server's default. SET datestyle TO ymd leaves the style as it is.
 */
export function dateStyleBehind(before: string | undefined, value: string, sql: string): string {
  const words = value
    .toLowerCase()
    .split(',')
    .map((word) => word.trim().replace(/^"(.*)"$/, '$1'));
  const style = words.find((word) => STYLE.test(word));
  const order = words.find((word) => ORDER.test(word));
  // German alone has an order of its own. What is not understood is repeated as it is.
  const saysAll = style === 'german' || (style === undefined) === (order === undefined);
  if (saysAll) return sql;
  const known = before ?? `RESET ${DATE_STYLE}`;
  const halves = HALVES.exec(known)!;
  const half = (word: string | undefined): string =>
    word === undefined ? '' : `; SET datestyle TO '${word}'`;
  return (
    known.slice(0, halves.index) + half(style ?? halves.groups?.style) + half(order ?? halves.groups?.order)
  );
}
