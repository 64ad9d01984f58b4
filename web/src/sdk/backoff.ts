/** A number in [0, 1), as `Math.random` gives. */
export type Random = () => number;

const BASE_MS = 500;
const CAP_MS = 30_000;
/** Whatever a gateway asks for. A longer timer than some 24 days would end at once. */
const MOST_MS = 3_600_000;

/**
 * How long to wait before coming back, in milliseconds: exponential with full jitter (a uniform draw between nothing and
 * the bound), which spreads the clients of a node that went away better than a delay with a little noise.
 */
export class Backoff {
  #failures = 0;

  constructor(readonly random: Random = Math.random) {}

  /** After one more failure. Without `grow` the next wait has the same bound. */
  next(grow = true): number {
    // The exponent is bounded: 2 ** 2000 would overflow after a long night.
    const bound = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#failures, 16));
    if (grow) this.#failures++;
    return this.within(bound);
  }

  /** At most `ms`: for when many have to go, and have that long to do it. */
  within(ms: number): number {
    return this.random() * Math.min(ms, MOST_MS);
  }

  /** At least `ms`, spread over as much again: for when the gateway names a time. */
  spread(ms: number): number {
    return Math.min(ms, MOST_MS) + this.within(Math.max(ms, BASE_MS));
  }

  /** It worked: the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
  }
}
