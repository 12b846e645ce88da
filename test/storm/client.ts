// One client of a storm: sends units, compares each reply with what this client must get, remembers its last steps for the story.
// It knows neither protocol nor which operations there are.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../src/lib/errors.js';
import { OwnRow } from './own-row.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';
import { type ErrorRules, judge, shorten, type Unit, type Verdict, type Weather } from './unit.js';
import { HANG_MS, type Wire } from './wire.js';

const STORY_STEPS = 24;
const WARN_LOGIN_MS = 60_000;

/** This connection is over, by plan or by a violation that has been noted. */
export class Over extends Error {}

/** What a protocol brings to the storm. */
export interface Speech<W extends Wire, S> {
  readonly rules: ErrorRules;
  readonly operations: readonly Operation<W, S>[];
  open(): Promise<W>;
  /** What a client knows of a connection that has just been opened. */
  freshState(): S;
  /** Just before a unit's bytes are written. */
  announce(wire: W, unit: Unit): void;
}

export interface Operation<W extends Wire, S> {
  readonly name: string;
  readonly weight: number;
  readonly run: (client: StormClient<W, S>) => Promise<void>;
}

export class StormClient<W extends Wire, S> {
  readonly number: number;
  readonly random: Random;
  readonly own: OwnRow;
  readonly weather: Weather;
  readonly #speech: Speech<W, S>;
  readonly #tally: Tally;
  readonly #story: string[] = [];
  #counter = 0;
  #wire: W | null = null;
  #state: S;

  constructor(number: number, speech: Speech<W, S>, random: Random, tally: Tally, weather: Weather) {
    this.number = number;
    this.#speech = speech;
    this.#state = speech.freshState();
    this.random = random;
    this.own = new OwnRow(weather);
    this.weather = weather;
    this.#tally = tally;
  }

  get wire(): W {
    if (this.#wire === null) throw new Over('not connected');
    return this.#wire;
  }

  get state(): S {
    return this.#state;
  }

  /** Rises with each call; no two units of a client have the same. */
  next(): number {
    return ++this.#counter;
  }

  /** Until the storm is over. */
  async live(): Promise<void> {
    const { operations } = this.#speech;
    const total = operations.reduce((sum, { weight }) => sum + weight, 0);
    while (!this.weather.over) {
      try {
        if (this.#wire === null && !(await this.#connect())) continue;
        let at = this.random.next() * total;
        const operation = operations.find(({ weight }) => {
          at -= weight;
          return at < 0;
        })!;
        await operation.run(this);
        this.#expectSilence(operation.name);
        if (this.random.chance(0.3)) await sleep(this.random.int(0, 40));
      } catch (error) {
        if (!(error instanceof Over)) {
          this.#note(`the storm itself failed: ${error instanceof Error ? error.stack : String(error)}`);
          this.#violation('storm', 'a mistake of the storm', '', describeError(error));
        }
        this.#drop();
      }
    }
    this.#drop();
  }

  async run(unit: Unit): Promise<Verdict> {
    return (await this.runAll([unit]))[0]!;
  }

  /** All in one write; the replies must come in this order. */
  async runAll(units: readonly Unit[]): Promise<Verdict[]> {
    await this.send(units);
    const verdicts: Verdict[] = [];
    for (const unit of units) verdicts.push(await this.receive(unit));
    return verdicts;
  }

  async send(units: readonly Unit[]): Promise<void> {
    const { wire } = this;
    for (const unit of units) {
      this.#note(`${unit.kind}: ${unit.text}`);
      this.#speech.announce(wire, unit);
    }
    wire.socket.write(Buffer.concat(units.map((unit) => unit.bytes)));
    for (const { later } of units) {
      if (later === undefined) continue;
      await sleep(this.random.int(1, 20));
      wire.socket.write(later);
    }
  }

  async receive(unit: Unit): Promise<Verdict> {
    const started = performance.now();
    const lines = await this.wire.reply(HANG_MS * (this.weather.failingOver ? 2 : 1));
    const tookMs = performance.now() - started;
    this.#tally.slowestMs = Math.max(this.#tally.slowestMs, Math.round(tookMs));
    this.#note(`  ${Math.round(tookMs)} ms: ${shorten(lines, 4)}`);
    const judged = judge(unit, lines, this.#speech.rules, this.weather);
    if (typeof judged === 'string') {
      this.#violation(unit.kind, judged, unit.text, shorten(lines));
      throw new Over(judged);
    }
    if (judged.verdict === 'right') this.#tally.count('answered', unit.kind);
    else this.#tally.count('failed', `${unit.kind} ${judged.code}`);
    if (judged.verdict === 'ended') throw new Over('the connection of a pin');
    return judged.verdict;
  }

  /** As if its process were killed. */
  die(how: string): never {
    this.#note(`dies ${how}`);
    this.#tally.count('chaos', `client dies ${how}`);
    throw new Over(how);
  }

  count(what: string): void {
    this.#tally.count('chaos', what);
  }

  async #connect(): Promise<boolean> {
    const deadline = performance.now() + WARN_LOGIN_MS;
    for (;;) {
      try {
        this.#wire = await this.#speech.open();
        this.#state = this.#speech.freshState();
        this.#tally.logins++;
        this.#note('connected');
        return true;
      } catch (error) {
        this.#note(`no login: ${describeError(error)}`);
        if (this.weather.over) return false;
        if (performance.now() > deadline) {
          this.#violation('login', 'nobody could log in for a minute', '', describeError(error));
          return false;
        }
        await sleep(100);
      }
    }
  }

  #drop(): void {
    this.#wire?.die();
    this.#wire = null;
  }

  #expectSilence(name: string): void {
    const surplus = this.#wire?.surplus ?? [];
    if (surplus.length === 0) {
      if (this.#wire?.ended === true) {
        this.#violation(name, 'its connection was ended while it asked for nothing', '', '');
        throw new Over('ended');
      }
      return;
    }
    this.#violation(name, 'a message that nothing asked for', '', shorten(surplus));
    throw new Over('surplus');
  }

  #note(step: string): void {
    this.#story.push(
      `${(performance.now() / 1000).toFixed(3)} ${step.length > 400 ? `${step.slice(0, 400)}...` : step}`,
    );
    if (this.#story.length > STORY_STEPS) this.#story.shift();
  }

  #violation(kind: string, what: string, asked: string, got: string): void {
    this.#tally.violation({ client: this.number, kind, what, asked, got, story: [...this.#story] });
  }
}
