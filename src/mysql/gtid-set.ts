// MySQL GTID sets (with the tags of 8.3 and later): sorted, disjoint intervals by source; pure functions.
// It opens no socket and knows no MariaDB.
//
// Reference manual, "GTID Format and Storage":
//   gtid_set: uuid_set [, uuid_set] ... | ''
//   uuid_set: uuid:[tag:]interval[:interval]... [:tag:interval ...]     interval: m[-n], m >= 1

/** First and last transaction of each run, ascending, with a gap between runs: [1, 5, 7, 7] is 1-5:7. */
export type Intervals = readonly number[];

/** By `uuid` or `uuid:tag`, both in lower case. */
export type GtidSet = ReadonlyMap<string, Intervals>;

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const TAG = /^[a-z_][a-z0-9_]{0,31}$/i;
const INTERVAL = /^(\d{1,19})(?:-(\d{1,19}))?$/;

const bad = (text: string): TypeError =>
  new TypeError(`not a GTID set: ${JSON.stringify(text.slice(0, 120))}`);

/** Throws TypeError on what no server gives. */
export function parseGtidSet(text: string): GtidSet {
  const pairs = new Map<string, [number, number][]>();
  for (const part of text.split(',')) {
    const uuidSet = part.trim();
    if (uuidSet === '') {
      if (text.trim() === '') break;
      continue;
    }
    const fields = uuidSet.split(':');
    const uuid = normalUuid(fields[0]!.trim(), text);
    if (fields.length < 2) throw bad(text);
    let key = uuid;
    for (let index = 1; index < fields.length; index++) {
      const field = fields[index]!.trim();
      const interval = INTERVAL.exec(field);
      if (interval === null) {
        if (!TAG.test(field) || index === fields.length - 1) throw bad(text);
        key = `${uuid}:${field.toLowerCase()}`;
        continue;
      }
      const first = safe(interval[1]!, text);
      const last = interval[2] === undefined ? first : safe(interval[2], text);
      if (last < first) continue; // "n may be less than m: the interval is empty"
      const list = pairs.get(key);
      if (list === undefined) pairs.set(key, [[first, last]]);
      else list.push([first, last]);
    }
  }
  const set = new Map<string, Intervals>();
  for (const [key, list] of pairs) set.set(key, merge(list));
  return set;
}

function normalUuid(text: string, whole: string): string {
  if (!UUID.test(text)) throw bad(whole);
  const hex = text.replaceAll('-', '').toLowerCase();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function safe(digits: string, whole: string): number {
  const value = Number(digits);
  if (value < 1) throw bad(whole);
  // Exactness ends at 2^53; a server at a million transactions a second gets there in 285 years.
  if (!Number.isSafeInteger(value)) throw new TypeError(`transaction number beyond 2^53: ${digits}`);
  return value;
}

function merge(pairs: [number, number][]): Intervals {
  pairs.sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [first, last] of pairs) {
    const end = out.length - 1;
    if (end > 0 && first <= out[end]! + 1) out[end] = Math.max(out[end]!, last);
    else out.push(first, last);
  }
  return out;
}

/** As the server writes it: sources and tags in order, the untagged first. */
export function formatGtidSet(set: GtidSet): string {
  const byUuid = new Map<string, string>();
  for (const key of [...set.keys()].sort()) {
    const uuid = key.slice(0, 36);
    const tag = key.slice(37);
    const intervals = set.get(key)!;
    let text = tag === '' ? '' : `:${tag}`;
    for (let i = 0; i < intervals.length; i += 2) {
      const first = intervals[i]!;
      const last = intervals[i + 1]!;
      text += first === last ? `:${first}` : `:${first}-${last}`;
    }
    byUuid.set(uuid, (byUuid.get(uuid) ?? uuid) + text);
  }
  return [...byUuid.values()].join(',');
}

export function gtidSetCovers(have: GtidSet, want: GtidSet): boolean {
  for (const [key, intervals] of want) {
    const own = have.get(key);
    if (own === undefined) return false;
    if (own === intervals) continue;
    let at = 0;
    for (let i = 0; i < intervals.length; i += 2) {
      while (at < own.length && own[at + 1]! < intervals[i]!) at += 2;
      if (at >= own.length || own[at]! > intervals[i]! || own[at + 1]! < intervals[i + 1]!) return false;
    }
  }
  return true;
}

export function gtidSetUnion(a: GtidSet, b: GtidSet): GtidSet {
  const out = new Map(a);
  for (const [key, intervals] of b) {
    const own = out.get(key);
    if (own === undefined) {
      out.set(key, intervals);
      continue;
    }
    const pairs: [number, number][] = [];
    for (const list of [own, intervals])
      for (let i = 0; i < list.length; i += 2) pairs.push([list[i]!, list[i + 1]!]);
    out.set(key, merge(pairs));
  }
  return out;
}

/** How many transactions of `want` are not in `have`. */
export function gtidSetMissing(have: GtidSet, want: GtidSet): number {
  let missing = 0;
  for (const [key, intervals] of want) {
    const own = have.get(key) ?? [];
    let at = 0;
    for (let i = 0; i < intervals.length; i += 2) {
      const last = intervals[i + 1]!;
      let next = intervals[i]!;
      while (at < own.length && own[at + 1]! < next) at += 2;
      for (let k = at; next <= last; k += 2) {
        if (k >= own.length || own[k]! > last) {
          missing += last - next + 1;
          break;
        }
        if (own[k]! > next) missing += own[k]! - next;
        next = own[k + 1]! + 1;
      }
    }
  }
  return missing;
}
