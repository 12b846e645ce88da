// What a client's own row may hold, by what it has written and read: its acknowledged value, or one of unknown outcome above it.
// Values only rise (each UPDATE says "where value is less"), so what a lost connection still does later cannot undo anything.

import type { Weather } from './unit.js';

export class OwnRow {
  readonly #weather: Weather;
  #value = 0;
  #maybe: number[] = [];
  #epoch = 0;

  constructor(weather: Weather) {
    this.#weather = weather;
  }

  acknowledged(value: number): void {
    this.#value = value;
    this.#maybe = this.#maybe.filter((each) => each > value);
  }

  /** It may have been written, or may be yet. */
  unknown(value: number): void {
    this.#maybe.push(value);
  }

  /** Null, or what is wrong with having read that. */
  read(value: number): string | null {
    const lossy = this.#weather.failingOver || this.#epoch !== this.#weather.epoch;
    if (lossy) {
      // Asynchronous replication: what no replica had received is gone.
      if (!this.#weather.failingOver) this.#epoch = this.#weather.epoch;
      this.#value = value;
      this.#maybe = this.#maybe.filter((each) => each > value);
      return null;
    }
    if (value === this.#value) return null;
    if (this.#maybe.includes(value)) {
      this.acknowledged(value);
      return null;
    }
    const others = this.#maybe.length === 0 ? '' : `, or ${this.#maybe.join(', ')}`;
    return `its own row holds ${value}; it must hold ${this.#value}${others}`;
  }
}
