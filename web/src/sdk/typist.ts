const EVERY_MS = 1_000;
const LASTS_MS = 5_000;

/** Tells the other side that somebody writes, when that changes and once a second at most. */
export class Typist {
  #on = false;
  #at = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly tell: (on: boolean) => void) {}

  type(on: boolean): void {
    clearTimeout(this.#timer);
    if (on) {
      // Who stops without saying so has stopped.
      this.#timer = setTimeout(() => this.type(false), LASTS_MS);
      const now = Date.now();
      if (this.#on || now - this.#at < EVERY_MS) return;
      this.#at = now;
    } else if (!this.#on) return;
    this.#on = on;
    this.tell(on);
  }

  /** There is nobody to tell. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#on = false;
  }
}
