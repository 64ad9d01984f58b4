/** The token in use, and where the next one comes from. */
import type { Store } from "./store.js";
import type { Tabs } from "./tabs.js";
import type { ChatOptions } from "./types.js";

/** There is no token. `final`: asking again would not change that. */
export class NoToken extends Error {
  constructor(
    message: string,
    readonly final = false,
  ) {
    super(message);
  }
}

const GUEST = "guest";
const TIMEOUT_MS = 10_000;
/** A guest's token that ends sooner is renewed before it is used. */
const SOON_S = 90;

interface Claims {
  iss?: unknown;
  tenant?: unknown;
  sub?: unknown;
  exp?: unknown;
}

/** What a token says of itself. Nobody relies on it: the gateway checks. */
export function claimsOf(token: string): Claims {
  try {
    const body = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims: unknown = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0))));
    return typeof claims === "object" && claims !== null ? claims : {};
  } catch {
    return {};
  }
}

function scopeOf(token: string): string {
  const { iss, tenant, sub } = claimsOf(token);
  return JSON.stringify([iss ?? null, tenant ?? null, sub ?? null]);
}

/** One at a time asks; all who wait get the same token. */
export class Tokens {
  #token: string | undefined;
  #asking: Promise<string> | undefined;
  #scope: string | undefined;
  /** The newest token is another customer's. */
  foreign = false;

  constructor(
    readonly source: ChatOptions["token"],
    readonly store: Store,
    readonly tabs: Tabs,
    /** HTTP sides of the gateway, the one in use first. */
    readonly origins: () => readonly string[],
  ) {}

  /**
   * Whose messages these are: what is kept in the browser for one customer is not shown to the next one. Guests are one,
   * as a browser has one guest.
   */
  async scope(): Promise<string> {
    if (!this.source) return GUEST;
    this.#scope = scopeOf(await this.current());
    return this.#scope;
  }

  /** The token to connect with. Raises {@link NoToken}. */
  current(): Promise<string> {
    return this.#token === undefined ? this.#ask(undefined) : Promise.resolve(this.#token);
  }

  /** One that is newer than `used`. Raises {@link NoToken}. */
  after(used: string): Promise<string> {
    return this.#token === used || this.#token === undefined ? this.#ask(used) : this.current();
  }

  /** `used` is no longer good, unless there is a newer one already. */
  drop(used: string | undefined): void {
    if (used !== undefined && this.#token === used) {
      this.#token = undefined;
      this.#refused = used;
    }
  }
  #refused: string | undefined;

  #ask(used: string | undefined): Promise<string> {
    this.#asking ??= (this.source ? this.#fromSource(this.source) : this.tabs.alone(GUEST, () => this.#guest(used ?? this.#refused)))
      .then((token) => {
        this.#token = token;
        return token;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }

  async #fromSource(source: NonNullable<ChatOptions["token"]>): Promise<string> {
    let token: string;
    try {
      token = await source();
    } catch (error) {
      throw new NoToken(error instanceof Error ? error.message : String(error));
    }
    if (!token) throw new NoToken("There is no token.");
    // What waits here is the first one's, and must not be sent in the name of another.
    this.foreign = this.#scope !== undefined && scopeOf(token) !== this.#scope;
    if (this.foreign) throw new NoToken("Somebody else has signed in.", true);
    return token;
  }

  /** The guest of this browser, under a name that is the same as before where that can be. */
  async #guest(used: string | undefined): Promise<string> {
    const kept = await this.store.get<string>(GUEST);
    if (kept && kept !== used) {
      const { exp } = claimsOf(kept);
      if (typeof exp === "number" && exp - Date.now() / 1000 > SOON_S) return kept; // another tab was quicker
    }
    let failure: unknown;
    for (const origin of new Set(this.origins())) {
      try {
        const token = await askForGuest(origin, kept ?? used);
        // Where tabs cannot wait for each other, the first one to be kept counts.
        return (await this.store.update<string>(GUEST, (now) => (now === kept ? token : now))) ?? token;
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }
}

async function askForGuest(origin: string, old: string | undefined): Promise<string> {
  let response: Response;
  try {
    response = await fetch(`${origin}/v1/guest`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(old ? { token: old } : {}),
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new NoToken(String(error));
  }
  const body = (await response.json().catch(() => ({}))) as { token?: unknown; message?: unknown };
  if (response.ok && typeof body.token === "string") return body.token;
  const why = typeof body.message === "string" ? body.message : `HTTP ${response.status}`;
  throw new NoToken(why, response.status >= 400 && response.status < 500 && response.status !== 429);
}
