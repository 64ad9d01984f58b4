/** Which connection is in use: the first, the next one when it breaks, and the first address again when it is back. */
import { Backoff, type Random } from "./backoff.js";
import { type Desk, type Ended, Link } from "./link.js";
import type { ServerWelcome } from "./protocol.js";
import type { Roster } from "./roster.js";

const HOME_AFTER_MS = 15_000;
const MAX_HOME_FACTOR = 10;
/** A connection that lasted so long was a good one. */
const GOOD_MS = 3_000;

const TOKEN_REFUSED: readonly number[] = [4500, 4501, 4502];
/** We have sent what must not be sent. */
const OUR_FAULT: readonly number[] = [1002, 1003, 1007, 1008, 1009];

/** Who is told where the director stands. */
export interface Watcher {
  /** Before each try: resolves when it may go on. */
  prepare(): Promise<void>;
  connecting(): void;
  /** The next try is at `at`, in milliseconds since 1970. */
  waiting(ended: Ended, at: number): void;
  refused(ended: Ended): void;
  /** Whether something that was sent explains that a connection ended by our fault, and will not be sent again. */
  blame(ended: Ended): boolean;
  /** Whether no acknowledged message waits for its answer. */
  idle(): boolean;
}

export class Director {
  /** The connection in use, which may have ended. */
  active: Link | undefined;
  #dialling: Link | undefined;
  #spare: Link | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #homeTimer: ReturnType<typeof setTimeout> | undefined;
  #homeFactor = 1;
  #leaveTimer: ReturnType<typeof setTimeout> | undefined;
  #renewed = false;
  #running = false;
  #turn = 0;
  readonly #backoff: Backoff;

  constructor(
    readonly roster: Roster,
    readonly desk: Desk,
    readonly watcher: Watcher,
    random: Random,
  ) {
    this.#backoff = new Backoff(random);
  }

  get running(): boolean {
    return this.#running;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#renewed = false;
    this.#backoff.reset();
    void this.#dial();
  }

  stop(reason: string): void {
    this.#running = false;
    this.#turn++;
    clearTimeout(this.#timer);
    clearTimeout(this.#homeTimer);
    clearTimeout(this.#leaveTimer);
    for (const link of [this.active, this.#dialling, this.#spare]) link?.leave(reason);
    this.active = this.#dialling = this.#spare = undefined;
  }

  /** Begins anew, at once: with another conversation, or on a network that has come back. */
  restart(reason: string): void {
    this.stop(reason);
    this.start();
  }

  /** The device may have slept, or has a network again: what waits is tried now, what is there is asked for a sign of life. */
  wake(): void {
    if (!this.#running) return;
    if (this.active?.ready) return this.active.probe();
    if (this.#dialling) return;
    clearTimeout(this.#timer);
    this.#backoff.reset();
    void this.#dial();
  }

  /** The device says that it has no network: what is there is as good as broken. */
  cut(): void {
    (this.active ?? this.#dialling)?.lose("no network");
  }

  async #dial(): Promise<void> {
    const turn = ++this.#turn;
    this.watcher.connecting();
    await this.watcher.prepare();
    if (turn !== this.#turn || !this.#running) return;
    this.#dialling = new Link(this.roster.current, this.desk);
    void this.#dialling.open();
  }

  /** `link` takes over, in one step: no event can come between. */
  use(link: Link, welcome: ServerWelcome): void {
    const before = this.active;
    this.active = link;
    if (this.#dialling === link) this.#dialling = undefined;
    if (this.#spare === link) this.#spare = undefined;
    this.#renewed = false;
    this.roster.arrived(link.address);
    this.roster.learn(welcome.nodes ?? []);
    if (before && before !== link) before.leave("another connection is in use");
    clearTimeout(this.#leaveTimer);
    clearTimeout(this.#homeTimer);
    if (link.address.socket === this.roster.home.socket) this.#homeFactor = 1;
    else this.#lookHome();
  }

  over(link: Link, ended: Ended): void {
    if (link === this.#spare) {
      this.#spare = undefined;
      if (this.#running) this.#lookHome();
      return;
    }
    if (!this.#running || (link !== this.active && link !== this.#dialling)) return;
    if (link.welcome && Date.now() - link.since >= GOOD_MS) this.#backoff.reset();
    this.active = this.#dialling = undefined;
    clearTimeout(this.#homeTimer);
    clearTimeout(this.#leaveTimer);
    const delay = this.#delay(link, ended);
    if (delay === undefined) {
      this.#running = false;
      this.#turn++;
      this.#spare?.leave("refused");
      this.watcher.refused(ended);
      return;
    }
    this.watcher.waiting(ended, Date.now() + delay);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#dial(), delay);
  }

  /** Milliseconds until the next try; undefined: there shall be none. */
  #delay(link: Link, ended: Ended): number | undefined {
    const exhausted = this.roster.failed(link.address);
    if (ended.refused && (exhausted || !ended.elsewhere)) return undefined;
    if (TOKEN_REFUSED.includes(ended.code)) {
      // Once: a new token that is refused as well will not get better.
      if (this.#renewed) return undefined;
      this.#renewed = true;
      this.desk.tokens.drop(link.token);
    } else if (ended.code >= 4500 || (OUR_FAULT.includes(ended.code) && !this.watcher.blame(ended))) {
      return undefined;
    }
    if (ended.left) return 0;
    if (link.wait !== undefined) {
      // Elsewhere there is room at once, for all that have to go; here only when the node is back.
      return this.roster.size > 1 ? this.#backoff.within(link.wait) : this.#backoff.spread(link.wait);
    }
    return this.#backoff.next(exhausted);
  }

  /** Leaves a node that drains, for another one: some time within `ms`, and not before its answers. */
  draining(link: Link, ms: number): void {
    if (link !== this.active || this.roster.size === 1) return; // it will close when it has answered
    clearTimeout(this.#leaveTimer);
    const leave = () => {
      if (this.active !== link || link.over) return;
      if (this.watcher.idle()) link.leave("draining");
      else this.#leaveTimer = setTimeout(leave, 200);
    };
    this.#leaveTimer = setTimeout(leave, this.#backoff.within(ms));
  }

  /** Looks from time to time whether the first address is back; `use` moves there without a pause. */
  #lookHome(): void {
    clearTimeout(this.#homeTimer);
    this.#homeTimer = setTimeout(
      () => {
        this.#homeFactor = Math.min(this.#homeFactor * 2, MAX_HOME_FACTOR);
        if (!this.active?.ready || this.#spare) return this.#lookHome();
        this.#spare = new Link(this.roster.home, this.desk, true);
        void this.#spare.open();
      },
      this.#backoff.spread(HOME_AFTER_MS * this.#homeFactor),
    );
  }
}
