// Positions of the MySQL protocol: a GTID set (MySQL) or a GTID position (MariaDB), told apart by their text.
// It opens no socket; a server that has written nothing gives '', which is comparable with both.

import type { Position, PositionFunctions } from '../protocol/position.js';
import {
  formatGtidPosition,
  type GtidPosition,
  gtidPositionCovers,
  gtidPositionForks,
  gtidPositionMissing,
  gtidPositionUnion,
  parseGtidPosition,
} from './gtid-position.js';
import {
  formatGtidSet,
  type GtidSet,
  gtidSetCovers,
  gtidSetMissing,
  gtidSetUnion,
  parseGtidSet,
} from './gtid-set.js';

export interface MysqlPosition extends Position {
  readonly flavor: 'mysql';
  readonly set: GtidSet;
}

export interface MariadbPosition extends Position {
  readonly flavor: 'mariadb';
  readonly domains: GtidPosition;
}

export interface EmptyPosition extends Position {
  readonly flavor: 'empty';
}

export type AnyMysqlPosition = MysqlPosition | MariadbPosition | EmptyPosition;

const EMPTY: EmptyPosition = { flavor: 'empty', text: '' };

function ofSet(set: GtidSet): AnyMysqlPosition {
  return set.size === 0 ? EMPTY : { flavor: 'mysql', set, text: formatGtidSet(set) };
}

function ofDomains(domains: GtidPosition): AnyMysqlPosition {
  return domains.size === 0 ? EMPTY : { flavor: 'mariadb', domains, text: formatGtidPosition(domains) };
}

function parse(text: string): AnyMysqlPosition {
  // A source's UUID is always followed by a colon; a MariaDB GTID never has one.
  return text.includes(':') ? ofSet(parseGtidSet(text)) : ofDomains(parseGtidPosition(text));
}

function distance(have: Position, want: Position): number {
  const h = have as AnyMysqlPosition;
  const w = want as AnyMysqlPosition;
  if (w.flavor === 'empty') return 0;
  if (w.flavor === 'mysql') return gtidSetMissing(h.flavor === 'mysql' ? h.set : new Map(), w.set);
  return gtidPositionMissing(h.flavor === 'mariadb' ? h.domains : new Map(), w.domains);
}

export const mysqlPositions: PositionFunctions = {
  distanceUnit: 'transactions',

  parse,

  covers(have, want) {
    const h = have as AnyMysqlPosition;
    const w = want as AnyMysqlPosition;
    if (w.flavor === 'empty') return true;
    if (h.flavor === 'mysql' && w.flavor === 'mysql') return gtidSetCovers(h.set, w.set);
    if (h.flavor === 'mariadb' && w.flavor === 'mariadb') return gtidPositionCovers(h.domains, w.domains);
    return false;
  },

  related(a, b) {
    const x = (a as AnyMysqlPosition).flavor;
    const y = (b as AnyMysqlPosition).flavor;
    return x === y || x === 'empty' || y === 'empty';
  },

  union(a, b) {
    const x = a as AnyMysqlPosition;
    const y = b as AnyMysqlPosition;
    if (y.flavor === 'empty') return x;
    if (x.flavor === 'empty') return y;
    if (x.flavor === 'mysql' && y.flavor === 'mysql') return ofSet(gtidSetUnion(x.set, y.set));
    if (x.flavor === 'mariadb' && y.flavor === 'mariadb')
      return ofDomains(gtidPositionUnion(x.domains, y.domains));
    throw new TypeError(`no union of a MySQL and a MariaDB position: ${x.text}, ${y.text}`);
  },

  distance,

  ahead(node, primary) {
    const n = node as AnyMysqlPosition;
    const p = primary as AnyMysqlPosition;
    // The same number given by two servers: two histories, of which neither is longer.
    if (n.flavor === 'mariadb' && p.flavor === 'mariadb')
      return Math.max(distance(primary, node), gtidPositionForks(n.domains, p.domains));
    return distance(primary, node);
  },
};
