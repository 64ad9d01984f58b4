/** A network, a browser and a clock that a test holds in its hands. */
import { IDBFactory } from "fake-indexeddb";
import { vi } from "vitest";
import { Chat, type Notice, type Seams } from "../../src/sdk/chat.js";
import type { ChatEvent } from "../../src/sdk/state.js";
import type { ChatOptions, Entry, OwnMessage, ReplyEntry } from "../../src/sdk/types.js";

export const HOME = "ws://one.test/ws";
export const NUMBERS = { max_message_bytes: 8_388_608, max_text_chars: 8_000, max_pixels: 50_000_000 };
export const TIME = "2026-01-02T03:04:05Z";

/** Lets everything run that waits for nothing but its turn. */
export async function settle(rounds = 12): Promise<void> {
  for (let round = 0; round < rounds; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass. */
export async function pass(ms: number): Promise<void> {
  await settle();
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
}

/** The server's end of one connection; what `new WebSocket` gives is the same object. */
export class Peer {
  readonly sent: (string | Uint8Array)[] = [];
  readyState = 0;
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  closedBy: number | undefined;
  /** Answers pings by itself. */
  alive = false;

  constructor(
    readonly url: string,
    readonly protocols: readonly string[],
  ) {
    world.peers.push(this);
    const answer = world.network(url);
    if (answer === "open") setImmediate(() => this.readyState === 0 && this.accept());
    else if (answer === "refuse") setImmediate(() => this.end(1006));
  }

  get token(): string | undefined {
    return this.protocols.find((one) => one.startsWith("csgate.bearer."))?.slice("csgate.bearer.".length);
  }
  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  // --- what the client calls
  send(frame: string | Uint8Array): void {
    if (this.alive && typeof frame === "string" && frame.startsWith('{"type":"ping"')) setImmediate(() => this.say({ type: "pong", t: 0 }));
    else this.sent.push(frame);
  }
  close(code = 1000): void {
    this.closedBy = code;
    this.readyState = 3;
  }
  // --- what a test calls
  say(event: object): void {
    this.onmessage?.({ data: JSON.stringify(event) });
  }
  end(code: number, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
  /** The next frame, as JSON; undefined where there is none. Pings are answered. */
  next(): Record<string, unknown> | undefined {
    for (;;) {
      const frame = this.sent.shift();
      if (frame === undefined) return undefined;
      if (typeof frame !== "string") return { binary: frame };
      const envelope = JSON.parse(frame) as Record<string, unknown>;
      if (envelope.type !== "ping") return envelope;
      this.say({ type: "pong", t: envelope.t });
    }
  }
  /** All frames that wait, as JSON. */
  all(): Record<string, unknown>[] {
    const frames = [];
    for (let frame = this.next(); frame; frame = this.next()) frames.push(frame);
    return frames;
  }
  welcome(more: object = {}): void {
    this.say({ type: "welcome", conversation: "c1", epoch: "e1", offset: 0, recovered: false, limits: NUMBERS, engine: { provider: "CPUExecutionProvider" }, nodes: [], ...more });
  }
}

class FakeChannel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  #open = true;
  constructor(readonly name: string) {
    world.channels.add(this);
  }
  postMessage(data: unknown): void {
    const copy = structuredClone(data);
    for (const other of world.channels) {
      if (other !== this && other.name === this.name) setImmediate(() => other.#open && other.onmessage?.({ data: copy }));
    }
  }
  close(): void {
    this.#open = false;
    world.channels.delete(this);
  }
}

type Grant = () => void;

/** The part of the Web Locks API that is used; a tab that dies gives its locks back by `release`. */
class FakeLocks {
  readonly #queues = new Map<string, Grant[]>();
  readonly #held = new Map<string, Grant>();

  request(name: string, options: { signal?: AbortSignal }, work: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      let started = false;
      options.signal?.addEventListener("abort", () => {
        if (started) return;
        queue.splice(queue.indexOf(grant), 1);
        reject(new DOMException("aborted", "AbortError"));
      });
      const grant = (): void => {
        started = true;
        const release = (): void => {
          if (this.#held.get(name) !== release) return;
          this.#held.delete(name);
          queue.shift()?.();
        };
        this.#held.set(name, release);
        Promise.resolve().then(work).then(resolve, reject).finally(release);
      };
      if (this.#held.has(name)) queue.push(grant);
      else grant();
    });
  }
  /** What a browser does with the locks of a page that is gone. */
  release(name: string): void {
    this.#held.get(name)?.();
  }
  get names(): string[] {
    return [...this.#held.keys()];
  }
}

export const world = {
  peers: [] as Peer[],
  channels: new Set<FakeChannel>(),
  locks: new FakeLocks() as FakeLocks | undefined,
  network: (_url: string): "open" | "refuse" | "silent" => "open",
  guests: [] as (string | undefined)[],
  http: (_url: string, _init: RequestInit): Response | Promise<Response> => new Response("{}", { status: 404 }),
};

/** A token that says what a real one does; nobody checks it here. */
export function token(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part(claims)}.signature`;
}

let made = 0;
const chats: Chat[] = [];

export function begin(): void {
  made = 0;
  world.peers = [];
  world.channels.clear();
  world.locks = new FakeLocks();
  world.network = () => "open";
  world.guests = [];
  world.http = (url, init) => {
    if (!url.endsWith("/v1/guest")) return new Response("{}", { status: 404 });
    const old = (JSON.parse(String(init.body)) as { token?: string }).token;
    world.guests.push(old);
    const subject = old ? (JSON.parse(Buffer.from(old.split(".")[1] as string, "base64url").toString()) as { sub: string }).sub : `guest-${++made}`;
    return Response.json({ token: token({ sub: subject, exp: Date.now() / 1000 + 3600, n: world.guests.length }), subject, expires_at: 0 });
  };
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"], now: new Date(TIME) });
  vi.stubGlobal("WebSocket", Peer);
  vi.stubGlobal("BroadcastChannel", FakeChannel);
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("navigator", {
    onLine: true,
    get locks() {
      return world.locks;
    },
  });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "hidden" }));
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => world.http(url, init));
}

export async function finish(): Promise<void> {
  for (const chat of chats.splice(0)) {
    const closing = chat.close();
    await settle();
    await closing;
  }
  vi.useRealTimers();
  vi.unstubAllGlobals();
}

export interface Tab {
  chat: Chat;
  events: (ChatEvent | Notice)[];
}

/** One tab with a chat in it. */
export function tab(options: ChatOptions = {}, seams: Seams = {}): Tab {
  const events: (ChatEvent | Notice)[] = [];
  const chat = new Chat({ urls: [HOME], token: () => token({ sub: "ann" }), ...options }, { random: () => 0, observe: (event) => events.push(event), ...seams });
  chats.push(chat);
  chat.start();
  return { chat, events };
}

/** The next connection that a client opens. */
export async function peer(wait = 60_000): Promise<Peer> {
  for (let waited = 0; ; ) {
    await settle();
    const next = world.peers.shift();
    if (next) return next;
    if (waited >= wait) throw new Error("nobody connects");
    const step = Math.min(100, wait - waited);
    await vi.advanceTimersByTimeAsync(step);
    waited += step;
  }
}

/** A tab that is connected, and its connection. */
export async function connected(options: ChatOptions = {}, welcome: object = {}): Promise<Tab & { peer: Peer }> {
  const one = tab({ storage: null, ...options });
  const connection = await peer();
  connection.next();
  connection.welcome(welcome);
  await settle();
  return { ...one, peer: connection };
}

export const reply = (id: string, offset: number, text: string, more: object = {}): object => ({
  type: "reply",
  id,
  offset,
  text,
  format: "markdown",
  intent: null,
  sentiment: null,
  tags: [],
  analysis: "",
  quick_replies: [],
  source: "canned",
  timing: {},
  timestamp: TIME,
  ...more,
});
export const message = (id: string, offset: number, text: string, author = "customer", more: object = {}): object => ({ type: "message", id, offset, author, text, timestamp: TIME, ...more });

export const own = (chat: Chat): OwnMessage[] => chat.snapshot.entries.filter((entry) => entry.kind === "own");
export const replies = (chat: Chat): ReplyEntry[] => chat.snapshot.entries.filter((entry) => entry.kind === "reply");
/** The conversation in words. */
export const words = (chat: Chat): string[] => chat.snapshot.entries.map((entry: Entry) => (entry.kind === "state" ? `[${entry.state}]` : `${entry.kind}: ${entry.text}`));
