/** The other tabs of the same page: what is said to them, and which of them are gone. */
import type { OwnMessage } from "./types.js";

/** What tabs tell each other. */
export type TabMessage =
  /** An own message is new or changed; a picture is in the store. */
  | { put: OwnMessage; after: number; owner: string; scope: string }
  /** One has ended or was withdrawn. */
  | { drop: string }
  /** The conversation of that scope is another one now; the store says which. */
  | { moved: string };

/** A random name of `bytes` bytes, in letters that fit everywhere. Works outside of secure contexts as well. */
export function randomId(bytes = 16): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return Array.from(crypto.getRandomValues(new Uint8Array(Math.ceil((bytes * 4) / 3))), (byte) => letters[byte & 63]).join("");
}

/**
 * Each tab holds a lock for as long as it lives, so that the others see when it is gone, however it went, and one of them
 * can take over what it had to send. A tab sends what was written in it: what is sent never waits for a tab in the
 * background, which the browser may have frozen.
 */
export class Tabs {
  readonly id = randomId(9);
  #channel: BroadcastChannel | undefined;
  #release: (() => void) | undefined;
  readonly #watched = new Set<string>();
  readonly #stop = new AbortController();

  /** `name` null: there are no other tabs. */
  constructor(
    readonly name: string | null,
    readonly listen: (message: TabMessage) => void,
  ) {
    if (name === null) return;
    if (typeof BroadcastChannel !== "undefined") {
      this.#channel = new BroadcastChannel(`csgate:${name}`);
      this.#channel.onmessage = ({ data }) => listen(data as TabMessage);
      (this.#channel as { unref?: () => void }).unref?.();
    }
    if (this.locks) {
      const held = new Promise<void>((resolve) => {
        this.#release = resolve;
      });
      void navigator.locks.request(this.#lock(this.id), { signal: this.#stop.signal }, () => held).catch(() => {});
    }
  }

  /** Whether tabs can know of each other: not in pages that came without TLS, nor in old browsers. */
  get locks(): boolean {
    return this.name !== null && typeof navigator !== "undefined" && !!navigator.locks;
  }

  tell(message: TabMessage): void {
    this.#channel?.postMessage(message);
  }

  /**
   * Calls `gone` when that tab is, in one tab after the other. Where nobody can know, that is at once: what is sent twice
   * is answered once.
   */
  watch(tab: string, gone: () => Promise<void>): void {
    if (tab === this.id || this.#watched.has(tab)) return;
    this.#watched.add(tab);
    const work = async (): Promise<void> => {
      this.#watched.delete(tab);
      await gone();
    };
    if (!this.locks) void work();
    else navigator.locks.request(this.#lock(tab), { signal: this.#stop.signal }, work).catch(() => this.#watched.delete(tab));
  }

  /** Runs `work` while no other tab runs work of that name. */
  async alone<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (!this.locks) return work();
    let started = false;
    try {
      return (await navigator.locks.request(`csgate:${this.name}:${what}`, { signal: this.#stop.signal }, () => {
        started = true;
        return work();
      })) as T;
    } catch (error) {
      if (started || this.#stop.signal.aborted) throw error;
      return work(); // some frames have locks and may not use them
    }
  }

  close(): void {
    this.#release?.();
    this.#stop.abort();
    this.#channel?.close();
    this.#channel = undefined;
  }

  #lock(tab: string): string {
    return `csgate:${this.name}:tab:${tab}`;
  }
}
