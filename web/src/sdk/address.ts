/** Where a gateway is. */
export interface Address {
  /** `ws:` or `wss:`. */
  readonly socket: string;
  /** Its HTTP side, without a path. */
  readonly origin: string;
}

const SCHEMES: Readonly<Record<string, [socket: string, http: string]>> = {
  "ws:": ["ws:", "http:"],
  "http:": ["ws:", "http:"],
  "wss:": ["wss:", "https:"],
  "https:": ["wss:", "https:"],
};

/** Reads `ws://host/ws`, an http: URL, or `host:port`; without a path it is `/ws`. Undefined: it is none of these. */
export function parseAddress(text: string): Address | undefined {
  let url: URL;
  try {
    url = new URL(text.includes("://") ? text : `ws://${text}`);
  } catch {
    return undefined;
  }
  const scheme = SCHEMES[url.protocol];
  if (!scheme || !url.hostname) return undefined;
  const path = url.pathname === "/" ? "/ws" : url.pathname;
  return { socket: `${scheme[0]}//${url.host}${path}${url.search}`, origin: `${scheme[1]}//${url.host}` };
}

// Only while a classic script runs does the page know which one it is.
const script = typeof document === "undefined" ? null : (document.currentScript as HTMLScriptElement | null)?.src;

/** The address of the file that this code came in; undefined where it is not known. */
export const home: string | undefined = script || import.meta.url || undefined;
