// Prints the tour: short lines for a terminal of 80 columns, in colour only where there is one. It knows no step.

type Style = 'bold' | 'green' | 'red' | 'dim';

/** ECMA-48, SGR. */
const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
};

export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  hasColors?(): boolean;
}

export class Narrator {
  readonly #sink: Sink;
  readonly #colours: boolean;
  #heading = 0;

  constructor(sink: Sink) {
    this.#sink = sink;
    this.#colours = sink.isTTY === true && sink.hasColors?.() !== false;
  }

  line(text = ''): void {
    this.#sink.write(`${text}\n`);
  }

  title(text: string): void {
    this.line(this.#styled('bold', text));
  }

  /** The heading of the tour's next step. */
  step(text: string): void {
    this.line();
    this.title(`${++this.#heading}. ${text}`);
  }

  /** What is about to happen. */
  says(text: string): void {
    this.line(`   ${text}`);
  }

  /** What was checked and is so. */
  fact(text: string): void {
    this.line(`   ${this.#styled('green', 'ok')}  ${text}`);
  }

  failed(expected: string, came: string): void {
    this.line(`   ${this.#styled('red', 'FAILED')}`);
    this.line(`     expected: ${expected}`);
    this.line(`     came:     ${came}`);
  }

  aside(text: string): void {
    this.line(this.#styled('dim', text));
  }

  /** Names to the left, the rest to the right, as numbers are. */
  rows(rows: readonly (readonly (string | number)[])[], indent = '       '): void {
    const cells = rows.map((row) => row.map(String));
    const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => (row[i] ?? '').length)));
    for (const row of cells) {
      const padded = row.map((cell, i) =>
        i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
      );
      this.line(`${indent}${padded.join('  ')}`);
    }
  }

  #styled(style: Style, text: string): string {
    const [on, off] = CODES[style];
    return this.#colours ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  }
}
