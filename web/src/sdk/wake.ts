/** Tells when the page, its device or its network may have slept, so that nobody waits for timers that slept as well. */

export interface WakeListener {
  /** It is worth trying now. */
  wake(): void;
  /** There is no network, the device says. */
  cut(): void;
}

const TICK_MS = 5_000;
/** A page in the background may be woken once a minute; a longer gap means that the device slept. */
const SLEPT_MS = 75_000;

/** Whether the device says that it has a network; true where it does not say. */
export const hasNetwork = (): boolean => typeof navigator === "undefined" || navigator.onLine !== false;

/** Returns what ends the watching. */
export function watchSleep(listener: WakeListener): () => void {
  const stop = new AbortController();
  const on = (target: EventTarget | undefined, type: string, call: (event: Event) => void): void =>
    target?.addEventListener(type, call, { signal: stop.signal });
  const [page, view] = [globalThis.document as Document | undefined, globalThis.window as Window | undefined];
  const wake = (): void => listener.wake();
  on(page, "visibilitychange", () => page?.visibilityState === "visible" && wake());
  on(page, "resume", wake);
  on(view, "pageshow", (event) => (event as PageTransitionEvent).persisted && wake());
  on(view, "online", wake);
  on(view, "offline", () => listener.cut());
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    if (now - last > SLEPT_MS) wake();
    last = now;
  }, TICK_MS);
  return () => {
    stop.abort();
    clearInterval(timer);
  };
}
