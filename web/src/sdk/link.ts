/** One connection: greeting, reading, writing, signs of life. What it means is decided at the desk. */
import type { Address } from "./address.js";
import { type ClientEnvelope, type ClientHello, type ServerEnvelope, type ServerWelcome, SUBPROTOCOL } from "./protocol.js";
import { read } from "./read.js";
import { NoToken, type Tokens } from "./tokens.js";

/** How a connection ended. */
export interface Ended {
  readonly code: number;
  readonly reason: string;
  /** Nobody was there. */
  readonly unreachable?: boolean;
  /** Coming back changes nothing; with `elsewhere`, not to this address. */
  readonly refused?: boolean;
  readonly elsewhere?: boolean;
  /** It was our own wish. */
  readonly left?: boolean;
  /** There is no token for now. */
  readonly tokenless?: boolean;
}

/** Where the connections of a client come together. */
export interface Desk {
  readonly tokens: Tokens;
  /** What opens or resumes the conversation. */
  hello(link: Link): ClientHello;
  /** Whether `link` is of use; it is in use from now on. */
  welcomed(link: Link, welcome: ServerWelcome): boolean;
  /** The conversation is not to be found there. Whether `link` shall begin another. */
  gone(link: Link): boolean;
  take(link: Link, event: ServerEnvelope): void;
  draining(link: Link, ms: number): void;
  /** Whether something sent over `link` should be acknowledged by now. */
  expectsAck(link: Link): boolean;
  over(link: Link, ended: Ended): void;
}

/** Errors before the welcome after which the same hello would fail again. */
const FINAL_REFUSALS: readonly string[] = ["bad_envelope", "forbidden", "not_found"];
const ABNORMAL = 1006;
const OPEN_MS = 15_000;
const WELCOME_MS = 15_000;
const PING_AFTER_MS = 25_000;
const ACK_AFTER_MS = 5_000;
const PONG_MS = 8_000;
/** Bytes that wait to be sent must become fewer in this time. */
const STALL_MS = 20_000;
/** Longer than half of the 60 s ahead of its end that a token is told of. */
const JUST_RENEWED_MS = 45_000;

/** What a subprotocol may look like; a token that does not goes into the hello. */
const WORD = /^[\w.~+-]+$/;

export class Link {
  /** Undefined until there is one. */
  welcome: ServerWelcome | undefined;
  token: string | undefined;
  /** After so many milliseconds a draining node wants its clients back. */
  wait: number | undefined;
  /** When it was welcome, in milliseconds since 1970. */
  since = 0;
  #ended: Ended | undefined;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = 0;
  #queued = 0;
  #renewed = 0;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #pings = 0;
  #answered = true;
  #lastError: string | undefined;

  constructor(
    readonly address: Address,
    readonly desk: Desk,
    /** To look whether an address is back; not the connection in use. */
    readonly spare = false,
  ) {}

  get over(): boolean {
    return this.#ended !== undefined;
  }
  get ready(): boolean {
    return this.welcome !== undefined && !this.over;
  }

  async open(): Promise<void> {
    try {
      this.token = await this.desk.tokens.current();
    } catch (error) {
      const final = error instanceof NoToken && error.final;
      this.#end({ code: 0, reason: error instanceof Error ? error.message : String(error), refused: final, unreachable: !final, tokenless: true });
      return;
    }
    if (this.over) return;
    const protocols = [SUBPROTOCOL];
    if (WORD.test(this.token)) protocols.push(`csgate.bearer.${this.token}`);
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.address.socket, protocols);
    } catch (error) {
      // A page may not be allowed to connect there at all.
      this.#end({ code: 0, reason: String(error), refused: true, elsewhere: true });
      return;
    }
    this.#socket = socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      const said = code >= 4000 && this.#lastError ? this.#lastError : reason;
      this.#end({ code, reason: said || `close code ${code}`, unreachable: code === ABNORMAL && !this.welcome });
    };
    this.#set(OPEN_MS, () => this.lose("nobody answers"));
  }

  send(envelope: ClientEnvelope): void {
    this.sendRaw(JSON.stringify(envelope));
  }

  /** Sends after what was sent before. */
  sendRaw(frame: string | Uint8Array<ArrayBuffer>): void {
    if (this.over || this.#socket?.readyState !== 1) return;
    this.#socket.send(frame);
    this.#queued = Date.now();
    if (this.welcome && this.#answered) this.#watch();
  }

  /** Asks for a sign of life, now. */
  probe(ms = 3_000): void {
    if (this.ready) this.#ping(ms);
  }

  /** Closes in good manners; nothing it says counts any more. */
  leave(reason: string): void {
    this.#end({ code: 1000, reason, left: true });
  }

  // --- inner -----------------------------------------------------------------------------------------------------------

  #set(ms: number, call: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(call, ms);
  }

  #greet(): void {
    if (this.over) return;
    const hello = this.desk.hello(this);
    if (this.token && !WORD.test(this.token)) hello.token = this.token;
    this.send(hello);
    this.#set(WELCOME_MS, () => this.lose("no welcome"));
  }

  #receive(data: unknown): void {
    if (this.over) return;
    this.#heard = Date.now();
    this.#answered = true;
    const event = read(data);
    if (!event) return;
    if (event.type === "draining") {
      this.wait = event.reconnect_after_ms;
      if (this.welcome) this.desk.draining(this, this.wait);
      return;
    }
    if (event.type === "error") this.#lastError = event.message;
    if (this.welcome) {
      if (event.type === "token_expiring") this.#expiring(event.seconds);
      else if (event.type !== "welcome" && event.type !== "pong") this.desk.take(this, event);
      return;
    }
    if (event.type === "welcome") {
      this.welcome = event;
      this.since = Date.now();
      if (!this.desk.welcomed(this, event)) this.leave("the conversation is not the same there");
      else this.#watch();
    } else if (event.type === "error") {
      if (event.code === "not_found" && this.desk.gone(this)) this.#greet();
      else if (FINAL_REFUSALS.includes(event.code)) this.#end({ code: 0, reason: event.message, refused: true });
    }
  }

  /** Tokens that live for less than a minute end soon from the start: half of what is left is waited for. */
  #expiring(seconds: number): void {
    const again = Date.now() - this.#renewed < JUST_RENEWED_MS;
    this.#renewed = Date.now();
    if (again) this.#renewal = setTimeout(() => void this.#refresh(), Math.max(1_000, seconds * 500));
    else void this.#refresh();
  }

  /** A new token before the old one ends. Without one the connection closes then, and the next one is asked for. */
  async #refresh(): Promise<void> {
    if (this.over) return;
    try {
      this.token = await this.desk.tokens.after(this.token as string);
      this.send({ type: "refresh", token: this.token });
    } catch {
      // see above
    }
  }

  #watch(): void {
    if (!this.ready) return;
    let due = this.#heard + PING_AFTER_MS;
    if (this.desk.expectsAck(this)) due = Math.min(due, Math.max(this.#heard, this.#queued) + ACK_AFTER_MS);
    const rest = due - Date.now();
    // More than there can be: the clock was set back.
    if (rest <= 0 || rest > PING_AFTER_MS) this.#ping(PONG_MS);
    else this.#set(rest, () => this.#watch());
  }

  #ping(ms: number): void {
    this.#answered = false;
    this.send({ type: "ping", t: ++this.#pings });
    this.#await(ms, this.#buffered);
  }

  #await(ms: number, before: number): void {
    this.#set(ms, () => {
      const now = this.#buffered;
      // The pong cannot come before what is in front of the ping is through.
      if (!this.#answered && now > 0 && now < before) this.#await(STALL_MS, now);
      else if (!this.#answered) this.lose("no sign of life");
      else this.#watch();
    });
  }

  get #buffered(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** Gives it up. */
  lose(reason: string): void {
    this.#end({ code: ABNORMAL, reason, unreachable: !this.welcome });
  }

  #end(ended: Ended): void {
    if (this.#ended) return;
    this.#ended = ended;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    const socket = this.#socket;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (socket.readyState < 2) socket.close(1000);
    }
    this.desk.over(this, ended);
  }
}
