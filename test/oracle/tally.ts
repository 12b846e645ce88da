// What the oracle has counted on one server, and the lines in which it says so. It judges nothing.

export interface WriteAsRead {
  readonly sql: string;
  /** What the classifier said. */
  readonly said: string;
  /** What the server answered, or which trace was found. */
  readonly answer: string;
}

/** Of a kind of finding more than these are counted, not kept. */
const maxKept = 200;

export class Tally {
  readonly server: string;
  readonly seed: number;
  statements = 0;
  /** Classed as reads, and run. */
  reads = 0;
  /** Of those, answered by the standby without an error. */
  answered = 0;
  /** Ran on the standby and left no trace on the primary, whatever their class. */
  proved = 0;
  /** Of those, classed for the primary. */
  readsAsWrites = 0;
  /** Of those, sent there by a row of the statement tables on purpose. */
  onPurpose = 0;
  writeCount = 0;
  readonly writesAsReads: WriteAsRead[] = [];
  /** Reads that go to the primary without a row of the tables that says so: worth a look. */
  readonly stricter: string[] = [];
  /** PostgreSQL: classed for the primary, and a read by the walk of the whole tree. */
  disagreements = 0;

  constructor(server: string, seed: number) {
    this.server = server;
    this.seed = seed;
  }

  write(found: WriteAsRead): void {
    this.writeCount++;
    if (this.writesAsReads.length < maxKept && !this.writesAsReads.some(({ sql }) => sql === found.sql))
      this.writesAsReads.push(found);
  }

  stricterThanWalk(sql: string): void {
    this.disagreements++;
    this.#keep(sql);
  }

  provedRead(isRead: boolean, onPurpose: boolean, sql: string): void {
    this.proved++;
    if (isRead) return;
    this.readsAsWrites++;
    if (onPurpose) this.onPurpose++;
    else this.#keep(sql);
  }

  #keep(sql: string): void {
    if (this.stricter.length < maxKept && !this.stricter.includes(sql)) this.stricter.push(sql);
  }
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / Math.max(1, whole)).toFixed(2)} %`;
}

function line(name: string, all: readonly Tally[]): string {
  const sum = (count: (tally: Tally) => number) => all.reduce((total, tally) => total + count(tally), 0);
  const proved = sum((tally) => tally.proved);
  const raw = sum((tally) => tally.readsAsWrites);
  const net = raw - sum((tally) => tally.onPurpose);
  return [
    `${name}: ${sum((tally) => tally.statements)} statements`,
    `${sum((tally) => tally.reads)} judged reads`,
    `reads-as-writes ${percent(raw, proved)} raw, ${percent(net, proved)} net of the documents' P rows (of ${proved} proved reads)`,
    `writes-as-reads ${sum((tally) => tally.writeCount)}`,
  ].join(', ');
}

/** Every write that was called a read, with what it takes to see it again. */
export function findings(tally: Tally): string[] {
  return tally.writesAsReads.map(
    ({ sql, said, answer }) =>
      `WRITE AS READ, ${tally.server}, seed ${tally.seed}: ${JSON.stringify(sql)}\n  classed: ${said}\n  server: ${answer}`,
  );
}

/** One line for each server, then one for all. */
export function summary(tallies: readonly Tally[]): string[] {
  return [...tallies.map((tally) => line(tally.server, [tally])), line('in all', tallies)];
}
