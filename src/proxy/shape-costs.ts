// What statements of a shape have cost so far: whether one may make others wait behind it on a shared server connection.
// Bounded; a shape that is not known is run by itself first.

interface Cost {
  /** Near the least that was measured lately: on a busy machine anything takes long now and then. */
  serviceMs: number;
  replyBytes: number;
}

const MAX_SHAPES = 10_000;
/** A larger measurement counts so much, a smaller one wholly. */
const WEIGHT = 0.05;
const MAX_REPLY_BYTES = 65_536;

export class ShapeCosts {
  readonly #byShape = new Map<string, Cost>();

  isLight(shape: string, maxServiceMs: number): boolean {
    const cost = this.#byShape.get(shape);
    return cost !== undefined && cost.serviceMs <= maxServiceMs && cost.replyBytes <= MAX_REPLY_BYTES;
  }

  note(shape: string, serviceMs: number, replyBytes: number): void {
    const cost = this.#byShape.get(shape);
    if (cost === undefined) {
      if (this.#byShape.size >= MAX_SHAPES) this.#byShape.delete(this.#byShape.keys().next().value!);
      this.#byShape.set(shape, { serviceMs, replyBytes });
      return;
    }
    cost.serviceMs = Math.min(serviceMs, cost.serviceMs + (serviceMs - cost.serviceMs) * WEIGHT);
    // One large reply is enough to know that they come.
    cost.replyBytes = Math.max(replyBytes, cost.replyBytes + (replyBytes - cost.replyBytes) * WEIGHT);
  }
}
