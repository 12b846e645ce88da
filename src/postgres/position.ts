// PostgreSQL positions: a WAL location (LSN) on a timeline, compared exactly; pure functions.
// It opens no socket; how a server is asked for one is node-control's business.

import type { Position, PositionFunctions } from '../protocol/position.js';

export interface PostgresPosition extends Position {
  /** Byte position in the WAL; a safe integer (2^53 bytes are 8 PiB of WAL). */
  readonly lsn: number;
  /** 0: not told (`pg_last_wal_replay_lsn()` gives none); it then compares by LSN alone. */
  readonly timeline: number;
}

/** XLOG_BLCKSZ; a server built with another one is not supported. */
const PAGE = 8192;
/** SizeOfXLogShortPHD and SizeOfXLogLongPHD (access/xlog_internal.h), after alignment. */
const SHORT_PAGE_HEADER = 24;
const LONG_PAGE_HEADER = 40;
/** The least wal_segment_size; the long header stands at the start of a segment. */
const LEAST_SEGMENT = 1024 * 1024;

const FORM = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})(?:@(\d{1,10}))?$/;

/** `lsn` as the server writes it, `16/B374D848`. */
export function formatLsn(lsn: number): string {
  const high = Math.floor(lsn / 2 ** 32);
  const low = lsn % 2 ** 32;
  return `${high.toString(16).toUpperCase()}/${low.toString(16).toUpperCase()}`;
}

/**
 * `pg_current_wal_insert_lsn()` names where the next record starts, behind the header of a fresh page; a standby that has
 * replayed everything names the end of the last record, the page boundary. Nothing lies between the two, so the first is
 * taken back to the boundary; else an idle standby would seem to be behind for ever.
 */
function withoutPageHeader(lsn: number): number {
  const inPage = lsn % PAGE;
  if (inPage === SHORT_PAGE_HEADER) return lsn - SHORT_PAGE_HEADER;
  if (inPage === LONG_PAGE_HEADER && lsn % LEAST_SEGMENT === LONG_PAGE_HEADER) return lsn - LONG_PAGE_HEADER;
  return lsn;
}

export function postgresPosition(lsnText: string, timeline: number): PostgresPosition {
  const match = FORM.exec(lsnText);
  if (match === null) throw new TypeError(`not a WAL location: ${JSON.stringify(lsnText.slice(0, 64))}`);
  const lsn = Number.parseInt(match[1]!, 16) * 2 ** 32 + Number.parseInt(match[2]!, 16);
  if (!Number.isSafeInteger(lsn)) throw new TypeError(`WAL location beyond 2^53: ${lsnText}`);
  const line = match[3] === undefined ? timeline : Number(match[3]);
  return make(withoutPageHeader(lsn), line);
}

function make(lsn: number, timeline: number): PostgresPosition {
  return { lsn, timeline, text: timeline === 0 ? formatLsn(lsn) : `${formatLsn(lsn)}@${timeline}` };
}

/**
 * Two timelines share their history up to a fork that a position does not name: what is on one is not known to be on the
 * other. The answer is then no, and the epoch of the snapshot says what to do with an old position.
 */
function comparable(a: PostgresPosition, b: PostgresPosition): boolean {
  return a.timeline === b.timeline || a.timeline === 0 || b.timeline === 0;
}

export const postgresPositions: PositionFunctions = {
  distanceUnit: 'bytes',

  /** `16/B374D848`, or with its timeline `16/B374D848@2`. */
  parse(text) {
    return postgresPosition(text, 0);
  },

  covers(have, want) {
    const h = have as PostgresPosition;
    const w = want as PostgresPosition;
    return comparable(h, w) && h.lsn >= w.lsn;
  },

  related(a, b) {
    return comparable(a as PostgresPosition, b as PostgresPosition);
  },

  union(a, b) {
    const x = a as PostgresPosition;
    const y = b as PostgresPosition;
    if (comparable(x, y)) {
      const timeline = Math.max(x.timeline, y.timeline);
      const lsn = Math.max(x.lsn, y.lsn);
      if (lsn === x.lsn && timeline === x.timeline) return x;
      if (lsn === y.lsn && timeline === y.timeline) return y;
      return make(lsn, timeline);
    }
    return x.timeline > y.timeline ? x : y;
  },

  distance(have, want) {
    const h = have as PostgresPosition;
    const w = want as PostgresPosition;
    if (comparable(h, w)) return Math.max(0, w.lsn - h.lsn);
    return Math.max(1, w.lsn - h.lsn);
  },

  ahead(node, primary) {
    const n = node as PostgresPosition;
    const p = primary as PostgresPosition;
    if (p.timeline !== 0 && n.timeline > p.timeline) return Math.max(1, n.lsn - p.lsn);
    return Math.max(0, n.lsn - p.lsn);
  },
};
