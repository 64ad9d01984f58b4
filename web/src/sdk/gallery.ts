/** Addresses of pictures: object URLs of one's own while the page lives, and what the gateway names. */
import type { Item } from "./store.js";
import type { State } from "./state.js";

/** So many are kept before it is looked which ones are still shown. */
const SWEEP_AT = 16;

export class Gallery {
  readonly #urls = new Map<string, string>();

  add(id: string, picture: Blob): string {
    const url = URL.createObjectURL(picture);
    this.#urls.set(id, url);
    return url;
  }

  /** Undefined: the message has no picture, or it is not there yet. */
  of({ id, picture }: Item): string | undefined {
    const url = this.#urls.get(id);
    return url ?? (picture?.bytes.byteLength ? this.add(id, new Blob([picture.bytes], { type: picture.type })) : undefined);
  }

  /** Frees what the conversation does not hold any more. */
  sweep({ log, waiting }: State): void {
    if (this.#urls.size < SWEEP_AT) return;
    const held = new Set([...log.map((entry) => ("id" in entry ? entry.id : "")), ...waiting.map(({ entry }) => entry.id)]);
    for (const [id, url] of this.#urls) if (!held.has(id)) this.#free(id, url);
  }

  clear(): void {
    for (const [id, url] of this.#urls) this.#free(id, url);
  }

  #free(id: string, url: string): void {
    URL.revokeObjectURL(url);
    this.#urls.delete(id);
  }
}

/** What outlives the page: object URLs do not, nor does what is in progress. */
export function lasting(state: State, entries = Number.POSITIVE_INFINITY): State {
  const log = state.log.slice(-entries).map((entry) => {
    if (!("picture" in entry) || !entry.picture?.url.startsWith("blob:")) return entry;
    const { picture: _, ...rest } = entry;
    return rest;
  });
  return { ...state, log, live: [], waiting: [], typing: false };
}

/** In full, and only where it can be nothing but a picture. */
export function pictureAddress(url: string | null | undefined, origin: string): string | null {
  if (!url) return null;
  try {
    const { protocol, href } = new URL(url, origin);
    return protocol === "https:" || protocol === "http:" || (protocol === "data:" && /^data:image\//i.test(href)) ? href : null;
  } catch {
    return null;
  }
}
