import { home } from "./address.js";
import { Backoff, type Random } from "./backoff.js";
import { Director, type Watcher } from "./director.js";
import { First } from "./first.js";
import { Gallery, lasting, pictureAddress } from "./gallery.js";
import type { Desk, Ended, Link } from "./link.js";
import { Outbox, type OutboxDesk } from "./outbox.js";
import { compressPicture, UnsupportedPicture } from "./picture.js";
import type { ClientHello, ServerEnvelope, ServerWelcome } from "./protocol.js";
import { Roster } from "./roster.js";
import { type ChatEvent, entriesOf, isChatEvent, type LocalEvent, lost, news, reduce, START, type State } from "./state.js";
import { type Item, MemoryStore, openStore, type Store } from "./store.js";
import { randomId, type TabMessage, Tabs } from "./tabs.js";
import { Teller } from "./teller.js";
import { Tokens } from "./tokens.js";
import type { ChatOptions, Connection, Failure, OutgoingMessage, Snapshot } from "./types.js";
import { Typist } from "./typist.js";
import { hasNetwork, watchSleep } from "./wake.js";

/** What the client tells of its connections, among the events of the conversation. */
export type Notice =
  | { type: "connected"; resumed: boolean }
  | { type: "disconnected" }
  | { type: "not_recovered"; reason: "gap" | "new_log" | "gone" }
  | { type: "refused"; number: number };

/** What tests replace. */
export interface Seams {
  random?: Random;
  /** Hears each event once, in order. */
  observe?: (event: ChatEvent | Notice) => void;
}

const MAX_REQUESTS = 64;
/** The other side may be gone before it says that it stopped. */
const THEIR_TYPING_MS = 10_000;
const SAVE_AFTER_MS = 400;
const SAVED_ENTRIES = 200;

/** What exists once it is known who this is. */
interface Inner {
  readonly store: Store;
  readonly tabs: Tabs;
  readonly tokens: Tokens;
  readonly outbox: Outbox;
  readonly director: Director;
  readonly scope: string;
}

/**
 * One conversation that outlives its connections, and the page: what is sent is kept until it has its answer, is answered
 * once, and every event comes once and in order. Nothing happens before `start`.
 */
export class Chat {
  #state: State = START;
  #snapshot: Snapshot | undefined;
  readonly #teller = new Teller(() => this.snapshot);
  #connection: Connection = "closed";
  #retryAt: number | undefined;
  #problem: Failure | undefined;
  #welcome: ServerWelcome | undefined;
  #inner: Inner | undefined;
  #opening: Promise<Inner> | undefined;
  /** Counts openings: what belongs to an earlier one has no say any more. */
  #life = 0;
  readonly #options: ChatOptions;
  readonly #seams: Seams;
  readonly #roster: Roster;
  readonly #backoff: Backoff;
  #conversation: string | undefined;
  /** No connection of this page has been on the conversation yet: the page that comes is what was asked for. */
  #fresh = true;
  #gone: string | undefined;
  readonly #first = new First();
  /** Whose conversation the state is. */
  #scope: string | undefined;
  /** Where the browser is to keep nothing: what waits outlives `close`. */
  #memory: Store | undefined;
  /** Ends a wait for a token. */
  #hurry: (() => void) | undefined;
  /** Messages on their way into the outbox. */
  readonly #coming = new Set<Promise<void>>();
  #unwatch: (() => void) | undefined;
  #requests: string[] = [];
  readonly #gallery = new Gallery();
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #typist = new Typist((on) => this.#link()?.send({ type: "typing", on }));

  /** @throws {TypeError} there is no address, or one is none. */
  constructor(options: ChatOptions = {}, seams: Seams = {}) {
    this.#options = options;
    this.#seams = seams;
    this.#conversation = options.conversation;
    this.#roster = new Roster(options.urls ?? (home ? [new URL("/ws", home).href] : []));
    this.#backoff = new Backoff(seams.random);
  }

  /** What there is to see; a new object at each change. */
  get snapshot(): Snapshot {
    this.#snapshot ??= this.#look();
    return this.#snapshot;
  }

  /** Calls `listener` after changes, at most once a frame; returns what ends that. */
  subscribe(listener: (snapshot: Snapshot) => void): () => void {
    return this.#teller.subscribe(listener);
  }

  /** Connects, and stays connected. Also after `close`, and after the gateway refused; while it waits, the next try is now. */
  start(): void {
    if (this.#opening) {
      if (this.#connection === "waiting" || this.#connection === "offline") {
        this.#hurry?.();
        this.#inner?.director.wake();
      }
      if (this.#connection !== "refused") return;
      if (!this.#inner?.tokens.foreign) return this.#inner?.director.start();
      void this.close(); // to be opened for somebody else
    }
    this.#set("connecting");
    const life = ++this.#life;
    this.#opening = this.#open(life);
    this.#opening.then(
      ({ director }) => life === this.#life && director.start(),
      () => {},
    );
  }

  /** Ends the connection. What waits to be sent is kept for the next time. */
  async close(): Promise<void> {
    const inner = this.#inner;
    const kept = [this.#save(), ...this.#coming];
    this.#life++;
    this.#opening = this.#inner = undefined;
    for (const timer of [this.#saveTimer, this.#quietTimer]) clearTimeout(timer);
    this.#typist.stop();
    this.#unwatch?.();
    this.#first.release();
    this.#hurry?.();
    inner?.director.stop("closed");
    inner?.outbox.stop();
    this.#state = lasting(this.#state);
    this.#gallery.clear();
    this.#welcome = undefined;
    this.#fresh = true;
    this.#set("closed");
    await Promise.allSettled(kept);
    inner?.tabs.close();
    inner?.store.close();
  }

  /**
   * Hands over a message; shown at once. Resolves with its id when it is kept and would survive the page.
   *
   * @throws {TypeError} there is neither text nor picture.
   * @throws {Error} too much waits already.
   */
  async send({ text = "", picture, original = false }: OutgoingMessage): Promise<string> {
    const said = text.trim() ? whole(text) : "";
    if (!said && !picture) throw new TypeError("A message needs text or a picture.");
    const { outbox } = await this.#ready();
    if (outbox.full) throw new Error("Too many messages wait to be sent.");
    this.#typist.type(false);
    const item = outbox.create(randomId(), said);
    const coming = picture ? this.#picture(outbox, item, picture, original) : (outbox.add(item), outbox.commit(item));
    this.#coming.add(coming);
    await coming.finally(() => this.#coming.delete(coming));
    return item.id;
  }

  async #picture(outbox: Outbox, item: Item, picture: Blob, original: boolean): Promise<void> {
    this.#gallery.add(item.id, picture);
    outbox.add({ ...item, picture: { bytes: new ArrayBuffer(0), type: picture.type, width: 0, height: 0 } });
    try {
      const { blob, width, height } = original ? { blob: picture, width: 0, height: 0 } : await compressPicture(picture);
      await outbox.commit({ ...item, picture: { bytes: await blob.arrayBuffer(), type: blob.type || "application/octet-stream", width, height } });
    } catch (error) {
      const code = error instanceof UnsupportedPicture ? "unsupported_image" : "storage";
      await outbox.spoil(item.id, { code, text: "This picture cannot be opened. Please send JPEG, PNG, WebP or GIF.", retryable: false });
    }
  }

  /** Sends again what failed; asks again, as a new message, what ended in an error. */
  retry(id: string): void {
    const again = async ({ outbox }: Inner): Promise<void> => {
      if (await outbox.retry(id)) return;
      const ended = outbox.takeEnded(id);
      const own = this.#state.log.find((entry) => entry.kind === "own" && entry.id === id);
      const text = ended?.text ?? (own?.kind === "own" ? own.text : "");
      if (ended?.picture) await this.send({ text, picture: new Blob([ended.picture.bytes], { type: ended.picture.type }), original: true });
      else if (text) await this.send({ text });
    };
    this.#ready().then(again).catch(ignore);
  }

  /** Withdraws a message that was not sent, or failed. */
  discard(id: string): void {
    void this.#ready().then(({ outbox }) => outbox.discard(id), ignore);
  }

  /** Asks to stop answering that message; one that was not sent yet is withdrawn. */
  cancel(id: string): void {
    void this.#ready().then(({ outbox }) => outbox.cancel(id), ignore);
  }

  /** How good the reply to that message was. */
  rate(replyId: string, score: 1 | 2 | 3 | 4 | 5, comment?: string): void {
    this.#dispatch({ type: "rated", reply: replyId, score });
    this.#request({ type: "rate", reply: replyId, score, ...(comment ? { comment: whole(comment.slice(0, 2000)) } : {}) });
  }

  /** Asks for a person. */
  handoff(reason?: string): void {
    this.#request({ type: "handoff", ...(reason ? { reason: whole(reason.slice(0, 500)) } : {}) });
  }

  /** Shows the other side that somebody writes; to be called at each key, and with false when nobody does any more. */
  typing(on: boolean): void {
    this.#typist.type(on);
  }

  /** Forgets the conversation and what waits to be sent, in all tabs, and begins a new one. */
  async reset(): Promise<void> {
    const { store, tabs, outbox, director, scope } = await this.#ready();
    await outbox.clear();
    await store.set(placeKey(scope), undefined);
    await store.set(logKey(scope), undefined);
    this.#conversation = undefined;
    this.#requests = [];
    this.#gallery.clear();
    this.#moveTo(undefined);
    tabs.tell({ moved: scope });
    director.restart("a new conversation");
  }

  // --- opening -----------------------------------------------------------------------------------------------------------

  #ready(): Promise<Inner> {
    if (!this.#opening) this.start();
    return this.#opening as Promise<Inner>;
  }

  async #open(life: number): Promise<Inner> {
    const name = this.#options.storage === undefined ? "csgate" : this.#options.storage;
    const store = name === null ? (this.#memory ??= new MemoryStore()) : await openStore(name);
    const tabs = new Tabs(name, (message) => void this.#tabSays(message));
    const tokens = new Tokens(this.#options.token, store, tabs, () => [this.#roster.current, ...this.#roster.all].map((one) => one.origin));
    const leave = (): never => {
      tabs.close();
      store.close();
      throw new Error("closed");
    };
    const scope = await this.#whoAmI(tokens, life).catch(leave);
    const outboxDesk: OutboxDesk = {
      link: () => (life === this.#life ? this.#link() : undefined),
      limits: () => this.#welcome?.limits ?? {},
      offset: () => this.#state.offset,
      show: (entry, after) => life === this.#life && this.#dispatch({ type: "put", entry, after }),
      hide: (id) => life === this.#life && this.#dispatch({ type: "drop", id }),
      pictureUrl: (item) => (life === this.#life ? this.#gallery.of(item) : undefined),
    };
    const outbox = new Outbox(outboxDesk, store, tabs, scope, this.#backoff, (signal, progress) => ({
      origin: this.#roster.current.origin,
      token: () => tokens.current(),
      drop: (token) => tokens.drop(token),
      presign: this.#welcome?.limits.presign === 1,
      progress,
      signal,
    }));
    const director = new Director(this.#roster, this.#desk(tokens, outbox), this.#watcher(outbox, store, tabs, scope), this.#seams.random ?? Math.random);
    const inner: Inner = { store, tabs, tokens, outbox, director, scope };
    if (life === this.#life) await this.#restore(inner);
    if (life !== this.#life) leave();
    this.#inner = inner;
    await outbox.load();
    this.#unwatch = watchSleep({
      wake: () => director.wake(),
      cut: () => director.cut(),
    });
    return inner;
  }

  /** What is kept belongs to somebody: without a token nobody knows to whom. */
  async #whoAmI(tokens: Tokens, life: number): Promise<string> {
    for (;;) {
      try {
        return await tokens.scope();
      } catch (error) {
        if (life !== this.#life) throw error;
        this.#problem = { code: "no_token", text: String(error), retryable: true };
        const delay = this.#backoff.next();
        this.#set(hasNetwork() ? "waiting" : "offline", Date.now() + delay);
        await new Promise<void>((resolve) => {
          this.#hurry = resolve;
          setTimeout(resolve, delay);
        });
        if (life !== this.#life) throw error;
        this.#set("connecting");
      }
    }
  }

  async #restore({ store, scope }: Inner): Promise<void> {
    if (this.#scope !== undefined && scope !== this.#scope) {
      this.#state = START;
      this.#requests = [];
      this.#changed();
    }
    this.#scope = scope;
    const kept = await store.get<State>(logKey(scope));
    const conversation = this.#conversation ?? (await store.get<string>(placeKey(scope)));
    if (!conversation) return;
    if (kept?.conversation === conversation && Array.isArray(kept.log)) this.#dispatch({ type: "restore", state: kept });
    else if (this.#state.conversation !== conversation) this.#dispatch({ type: "forget", conversation });
  }

  // --- connections ---------------------------------------------------------------------------------------------------------

  #link(): Link | undefined {
    const link = this.#inner?.director.active;
    return link?.ready ? link : undefined;
  }

  #desk(tokens: Tokens, outbox: Outbox): Desk {
    return {
      tokens,
      hello: (link) => this.#hello(link),
      welcomed: (link, welcome) => this.#welcomed(link, welcome),
      gone: (link) => {
        const { conversation } = this.#state;
        if (link.spare || !conversation) return false;
        this.#gone = conversation;
        if (conversation === this.#conversation) this.#conversation = undefined;
        this.#moveTo(undefined);
        return true;
      },
      take: (link, event) => this.#take(link, event),
      draining: (link, ms) => this.#inner?.director.draining(link, ms),
      expectsAck: (link) => outbox.expectsAck(link),
      over: (link, ended) => this.#inner?.director.over(link, ended),
    };
  }

  #watcher(outbox: Outbox, store: Store, tabs: Tabs, scope: string): Watcher {
    return {
      prepare: () => this.#prepare(store, tabs, scope),
      connecting: () => this.#set("connecting"),
      waiting: (ended, at) => {
        this.#disconnected(outbox);
        this.#problem = ended.tokenless ? { code: "no_token", text: ended.reason, retryable: true } : undefined;
        this.#set(hasNetwork() ? "waiting" : "offline", at);
      },
      refused: (ended) => {
        this.#disconnected(outbox, ended);
        this.#problem = { code: refusalOf(ended), text: ended.reason, retryable: false };
        this.#set("refused");
      },
      blame: (ended) => outbox.blame({ code: "too_large", text: ended.reason, retryable: false }),
      idle: () => outbox.idle,
    };
  }

  #disconnected(outbox: Outbox, refused?: Ended): void {
    this.#first.release();
    this.#welcome = undefined;
    this.#typist.stop();
    this.#seams.observe?.(refused ? { type: "refused", number: refused.code } : { type: "disconnected" });
    this.#dispatch({ type: "quiet" });
    outbox.detach();
  }

  /** Of several tabs that have no conversation yet, one begins it; the others go there. */
  async #prepare(store: Store, tabs: Tabs, scope: string): Promise<void> {
    if (this.#state.conversation || tabs.name === null) return;
    await this.#first.ask(tabs, scope, async () => {
      const conversation = await store.get<string>(placeKey(scope));
      if (!conversation || conversation === this.#gone) return false;
      this.#moveTo(conversation);
      return true;
    });
  }

  #hello(link: Link): ClientHello {
    const { conversation, epoch, offset } = this.#state;
    const resumes = conversation && epoch && (!this.#fresh || link.spare);
    return {
      type: "hello",
      ...(conversation ? { conversation } : {}),
      ...(resumes ? { epoch, offset } : {}),
      ...(this.#options.locale ? { locale: this.#options.locale } : {}),
    };
  }

  #welcomed(link: Link, welcome: ServerWelcome): boolean {
    const inner = this.#inner;
    if (!inner) return false;
    const { conversation, epoch } = this.#state;
    if (link.spare && !(welcome.recovered && welcome.conversation === conversation && welcome.epoch === epoch)) return false;
    const reason = this.#gone ? "gone" : this.#fresh ? undefined : lost(this.#state, welcome);
    const asked = conversation !== undefined;
    this.#seams.observe?.({ type: "connected", resumed: welcome.recovered });
    if (reason) this.#seams.observe?.({ type: "not_recovered", reason });
    this.#dispatch(welcome);
    this.#fresh = false;
    this.#welcome = welcome;
    this.#problem = undefined;
    inner.director.use(link, welcome);
    this.#set("online");
    inner.outbox.activate(welcome.epoch, asked);
    for (const request of this.#requests.splice(0)) link.sendRaw(request);
    void this.#settle(inner, welcome.conversation);
    return true;
  }

  /** Remembers the conversation; where another tab has begun another one meanwhile, that one counts. */
  async #settle({ store, tabs, scope, director }: Inner, conversation: string): Promise<void> {
    if (this.#conversation) return;
    const gone = this.#gone;
    this.#gone = undefined;
    let before: string | undefined;
    const settled = await store.update<string>(placeKey(scope), (now) => {
      before = now;
      return now === undefined || now === gone ? conversation : now;
    });
    this.#first.release();
    if (settled !== undefined && settled !== conversation) {
      this.#moveTo(settled);
      director.restart("the conversation of another tab");
    } else if (before !== conversation) tabs.tell({ moved: scope });
  }

  #moveTo(conversation: string | undefined): void {
    this.#fresh = true;
    this.#dispatch({ type: "forget", ...(conversation ? { conversation } : {}) });
  }

  // --- events --------------------------------------------------------------------------------------------------------------

  #take(link: Link, event: ServerEnvelope): void {
    if (event.type === "history") {
      for (const missed of event.events) this.#hear(link, missed);
      const first = event.events[0]?.offset ?? 0;
      if (!link.welcome?.recovered) this.#dispatch({ type: "page", first });
      const newer = new Set(this.#state.log.map((entry) => (entry.kind === "own" && entry.offset >= first ? entry.id : "")));
      this.#inner?.outbox.resume(link.welcome?.recovered || !first ? undefined : (id) => !newer.has(id));
    } else if (isChatEvent(event)) this.#hear(link, event);
  }

  #hear(link: Link, said: ChatEvent): void {
    const outbox = this.#inner?.outbox;
    if (said.type === "error" && !said.offset && outbox?.refused(said)) return;
    const told = news(this.#state, said);
    if (told) this.#seams.observe?.(told);
    const event = "image_url" in said ? { ...said, image_url: pictureAddress(said.image_url, link.address.origin) } : said;
    this.#dispatch(event);
    if (event.type === "ack" || event.type === "message") outbox?.acknowledged(event.id, this.#state.epoch);
    else if (event.type === "reply") outbox?.finish(event.id, false);
    else if (event.type === "error" && event.offset && event.id) outbox?.finish(event.id, event.code !== "cancelled");
    else if (event.type === "typing" && event.on) {
      clearTimeout(this.#quietTimer);
      this.#quietTimer = setTimeout(() => this.#dispatch({ type: "quiet" }), THEIR_TYPING_MS);
    }
  }

  #request(envelope: { type: "rate"; reply: string; score: number; comment?: string } | { type: "handoff"; reason?: string }): void {
    const link = this.#link();
    if (link) link.send(envelope);
    else if (this.#requests.length < MAX_REQUESTS) this.#requests.push(JSON.stringify(envelope));
  }

  async #tabSays(message: TabMessage): Promise<void> {
    const inner = this.#inner;
    if (!inner) return;
    const { store, outbox, scope, director } = inner;
    if ("drop" in message) outbox.dropped(message.drop);
    else if ("put" in message) {
      if (message.scope !== scope) return;
      const item = (await store.items(scope)).find(({ id }) => id === message.put.id);
      if (!item || item.owner !== message.owner || this.#inner !== inner) return;
      outbox.mirror(item);
      const url = this.#gallery.of(item);
      this.#dispatch({ type: "put", entry: { ...message.put, ...(url ? { picture: { url } } : {}) }, after: message.after });
    } else if (message.moved === scope && !this.#conversation) {
      const conversation = await store.get<string>(placeKey(scope));
      if (conversation === this.#state.conversation || this.#inner !== inner) return;
      if (!conversation && !director.running) return;
      this.#moveTo(conversation);
      director.restart("the conversation of another tab");
    }
  }

  // --- what is seen ----------------------------------------------------------------------------------------------------------

  #dispatch(event: ChatEvent | LocalEvent): void {
    const before = this.#state;
    this.#state = reduce(before, event);
    if (this.#state === before) return;
    this.#changed();
    this.#gallery.sweep(this.#state);
    if (this.#state.log !== before.log) this.#saveTimer ??= setTimeout(() => void this.#save(), SAVE_AFTER_MS);
  }

  #set(connection: Connection, retryAt?: number): void {
    this.#connection = connection;
    this.#retryAt = retryAt;
    this.#changed();
  }

  #look(): Snapshot {
    const { mode, typing, conversation } = this.#state;
    return {
      entries: entriesOf(this.#state),
      connection: this.#connection,
      ...(this.#retryAt === undefined ? {} : { retryAt: this.#retryAt }),
      state: mode,
      typing,
      ...(conversation ? { conversation } : {}),
      ...(this.#welcome ? { engine: this.#welcome.engine } : {}),
      ...(this.#problem ? { problem: this.#problem } : {}),
    };
  }

  #changed(): void {
    this.#snapshot = undefined;
    this.#teller.changed();
  }

  /** For the next page to show at once, before the gateway has answered. */
  async #save(): Promise<void> {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    if (!this.#inner || this.#options.storage === null || !this.#state.epoch) return;
    const { store, scope } = this.#inner;
    await store.set(logKey(scope), lasting(this.#state, SAVED_ENTRIES));
  }
}

const placeKey = (scope: string): string => `place ${scope}`;
const logKey = (scope: string): string => `log ${scope}`;
const ignore = (): void => {};
/** Halves of characters, which a cut leaves behind, are in no UTF-8: a gateway could not read what holds one. */
const whole = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd");

function refusalOf({ code, tokenless }: Ended): string {
  if (tokenless) return "no_token";
  return { 4500: "unauthorized", 4501: "expired", 4502: "unauthorized", 4503: "abuse", 4504: "misuse", 4505: "origin" }[code] ?? "refused";
}
