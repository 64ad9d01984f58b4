/** A frame that has not come by then will not come soon. */
const HIDDEN_MS = 200;

/** Tells listeners that something has changed: at most once a frame, and all of them. */
export class Teller<T> {
  readonly #listeners = new Set<(value: T) => void>();
  #scheduled = false;

  constructor(readonly look: () => T) {}

  subscribe(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(): void {
    if (this.#scheduled || !this.#listeners.size) return;
    this.#scheduled = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = (): void => {
      clearTimeout(timer);
      if (!this.#scheduled) return;
      this.#scheduled = false;
      for (const listener of [...this.#listeners]) {
        try {
          listener(this.look());
        } catch (error) {
          // The page's own to mend; it keeps nobody else from hearing.
          setTimeout(() => {
            throw error;
          });
        }
      }
    };
    // A page that nobody sees has no frames; nor has one that is hidden before its next one comes.
    if (globalThis.document?.visibilityState !== "visible") return queueMicrotask(tell);
    requestAnimationFrame(tell);
    timer = setTimeout(tell, HIDDEN_MS);
  }
}
