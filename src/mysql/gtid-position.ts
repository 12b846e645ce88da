// MariaDB GTID positions: the last transaction of each replication domain; pure functions.
// It opens no socket and knows no MySQL.
//
// MariaDB knowledge base, "Global Transaction ID": domain-server-sequence, joined by commas; within a domain the
// sequence only rises (gtid_strict_mode), and a position names everything up to it.

export interface DomainPosition {
  /** Who wrote the transaction; kept to show and to tell forked histories, not compared. */
  readonly serverId: number;
  readonly sequence: number;
}

export type GtidPosition = ReadonlyMap<number, DomainPosition>;

const GTID = /^(\d{1,10})-(\d{1,10})-(\d{1,20})$/;

export function parseGtidPosition(text: string): GtidPosition {
  const out = new Map<number, DomainPosition>();
  if (text.trim() === '') return out;
  for (const part of text.split(',')) {
    const match = GTID.exec(part.trim());
    if (match === null) throw new TypeError(`not a GTID position: ${JSON.stringify(text.slice(0, 120))}`);
    const sequence = Number(match[3]);
    if (!Number.isSafeInteger(sequence)) throw new TypeError(`sequence number beyond 2^53: ${match[3]}`);
    const domain = Number(match[1]);
    const own = out.get(domain);
    // gtid_binlog_state names several servers in one domain; the highest sequence is the position.
    if (own === undefined || own.sequence < sequence)
      out.set(domain, { serverId: Number(match[2]), sequence });
  }
  return out;
}

export function formatGtidPosition(position: GtidPosition): string {
  return [...position.keys()]
    .sort((a, b) => a - b)
    .map((domain) => {
      const { serverId, sequence } = position.get(domain)!;
      return `${domain}-${serverId}-${sequence}`;
    })
    .join(',');
}

export function gtidPositionCovers(have: GtidPosition, want: GtidPosition): boolean {
  for (const [domain, wanted] of want) {
    const own = have.get(domain);
    if (own === undefined || own.sequence < wanted.sequence) return false;
  }
  return true;
}

export function gtidPositionUnion(a: GtidPosition, b: GtidPosition): GtidPosition {
  const out = new Map(a);
  for (const [domain, other] of b) {
    const own = out.get(domain);
    if (own === undefined || own.sequence < other.sequence) out.set(domain, other);
  }
  return out;
}

export function gtidPositionMissing(have: GtidPosition, want: GtidPosition): number {
  let missing = 0;
  for (const [domain, wanted] of want)
    missing += Math.max(0, wanted.sequence - (have.get(domain)?.sequence ?? 0));
  return missing;
}

/** In how many domains both end in the same sequence number of different servers. */
export function gtidPositionForks(a: GtidPosition, b: GtidPosition): number {
  let forks = 0;
  for (const [domain, own] of a) {
    const other = b.get(domain);
    if (other !== undefined && other.sequence === own.sequence && other.serverId !== own.serverId) forks++;
  }
  return forks;
}
