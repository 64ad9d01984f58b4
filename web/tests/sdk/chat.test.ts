import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, connected, finish, HOME, message, NUMBERS, own, pass, peer, replies, reply, settle, tab, TIME, token, words, world } from "./fakes.js";

beforeEach(begin);
afterEach(finish);

describe("a conversation", () => {
  it("begins with the subprotocols, a hello and the language", async () => {
    const { chat } = tab({ storage: null, locale: "zh" });
    expect(chat.snapshot).toMatchObject({ connection: "connecting", entries: [], state: "bot", typing: false });
    const first = await peer();
    expect(first.url).toBe(HOME);
    expect(first.protocols[0]).toBe("csgate.v1");
    expect(first.token).toBe(token({ sub: "ann" }));
    expect(first.next()).toEqual({ type: "hello", locale: "zh" });
    first.welcome();
    await settle();
    expect(chat.snapshot).toMatchObject({ connection: "online", conversation: "c1", engine: { provider: "CPUExecutionProvider" } });
  });

  it("sends a token that no subprotocol can carry in the hello", async () => {
    tab({ storage: null, token: async () => "not a word" });
    const first = await peer();
    expect(first.protocols).toEqual(["csgate.v1"]);
    expect(first.next()).toEqual({ type: "hello", token: "not a word" });
  });

  it("shows a message from the moment it is written, its way, and the answer as it comes", async () => {
    const { chat, peer: one } = await connected();
    const id = await chat.send({ text: "Hi" });
    expect(one.next()).toEqual({ type: "message", id, text: "Hi" });
    expect(own(chat)).toMatchObject([{ id, text: "Hi", state: "sending" }]);
    one.say({ type: "ack", id, offset: 1 });
    one.say({ type: "progress", id, stage: "queued", position: 2 });
    expect(own(chat)).toMatchObject([{ state: "sent", offset: 1, stage: "queued", position: 2 }]);
    one.say({ type: "delta", id, attempt: 1, seq: 1, text: "On " });
    one.say({ type: "delta", id, attempt: 1, seq: 2, text: "its way" });
    expect(replies(chat)).toMatchObject([{ id, text: "On its way", done: false }]);
    one.say(reply(id, 2, "On its way.", { quick_replies: ["Thanks"], image_url: "/media/x?e=1" }));
    expect(replies(chat)).toMatchObject([{ done: true, text: "On its way.", quickReplies: ["Thanks"], picture: { url: "http://one.test/media/x?e=1" } }]);
    chat.rate(id, 5, "fine");
    expect(one.next()).toEqual({ type: "rate", reply: id, score: 5, comment: "fine" });
    expect(replies(chat)).toMatchObject([{ rating: 5 }]);
  });

  it("tells its listeners of changes together, with a snapshot that stays the same until the next", async () => {
    const { chat, peer: one } = await connected();
    const seen: unknown[] = [];
    const stop = chat.subscribe((snapshot) => seen.push(snapshot));
    for (let seq = 1; seq <= 5; seq++) one.say({ type: "delta", id: "x", attempt: 1, seq, text: "." });
    await settle();
    expect(seen).toEqual([chat.snapshot]);
    expect(chat.snapshot).toBe(chat.snapshot);
    stop();
    one.say({ type: "delta", id: "x", attempt: 1, seq: 6, text: "." });
    await settle();
    expect(seen.length).toBe(1);
  });

  it("lets nothing but pictures through as an address", async () => {
    const { chat, peer: one } = await connected();
    const addresses = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://[", "data:image/png;base64,AAAA", "https://cdn.test/p"];
    for (const [at, image_url] of addresses.entries()) one.say(message(`h${at}`, at + 1, "", "human", { image_url }));
    expect(chat.snapshot.entries.map((entry) => ("picture" in entry ? entry.picture?.url : undefined))).toEqual([undefined, undefined, undefined, undefined, "data:image/png;base64,AAAA", "https://cdn.test/p"]);
  });

  it("sends one message at a time, so that their order holds when one has to wait", async () => {
    const { chat, peer: one } = await connected();
    const [a, b] = [await chat.send({ text: "a" }), await chat.send({ text: "b" })];
    expect(one.all()).toMatchObject([{ id: a }]);
    one.say({ type: "error", code: "rate_limited", message: "Slowly.", ref: "r", id: a, retry_after: 2 });
    await pass(1_900);
    expect(one.all()).toEqual([]);
    expect(own(chat).map((entry) => entry.state)).toEqual(["queued", "queued"]);
    await pass(200);
    expect(one.all()).toMatchObject([{ id: a }]);
    one.say({ type: "ack", id: a, offset: 1 });
    expect(one.all()).toMatchObject([{ id: b }]);
  });

  it("gives up after ten refusals, and tries again when told to, under the same id", async () => {
    const { chat, peer: one } = await connected();
    one.alive = true;
    const id = await chat.send({ text: "a" });
    for (let time = 0; time <= 10; time++) {
      expect(one.all()).toMatchObject([{ id }]);
      one.say({ type: "error", code: "overloaded", message: "Busy.", ref: "r", id, retry_after: 1 });
      await pass(16_000);
    }
    expect(own(chat)).toMatchObject([{ state: "failed", error: { code: "overloaded", text: "Busy.", retryable: true, retryAfter: 1 } }]);
    chat.retry(id);
    await settle();
    expect(one.all()).toMatchObject([{ id }]);
    one.say({ type: "ack", id, offset: 1 });
    expect(own(chat)).toMatchObject([{ id, state: "sent" }]);
  });

  it("fails what is refused for good, goes on with the next, and forgets it when told to", async () => {
    const { chat, peer: one } = await connected();
    const [a, b] = [await chat.send({ text: "a" }), await chat.send({ text: "b" })];
    one.all();
    one.say({ type: "error", code: "duplicate_mismatch", message: "Used.", ref: "r", id: a });
    await settle();
    expect(own(chat)).toMatchObject([{ id: a, state: "failed", error: { retryable: false } }, { id: b }]);
    expect(one.all()).toMatchObject([{ id: b }]);
    chat.retry(a); // an id that is taken is given up
    await settle();
    expect(own(chat).map(({ text, state }) => [text, state])).toEqual([["b", "sending"], ["a", "queued"]]);
    const again = own(chat)[1]?.id as string;
    expect(again).not.toBe(a);
    chat.discard(again);
    await settle();
    expect(own(chat)).toMatchObject([{ id: b }]);
  });

  it("fails a message that is too large before it is sent, or when the gateway cannot even say which it was", async () => {
    const { chat, peer: one } = await connected({}, { limits: { ...NUMBERS, max_text_chars: 4 } });
    await chat.send({ text: "12345" });
    await chat.send({ text: "👩👩👩👩" });
    await settle();
    expect(own(chat)[0]).toMatchObject({ state: "failed", error: { code: "too_large", retryable: false } });
    expect(one.all()).toMatchObject([{ text: "👩👩👩👩" }]);
    one.say({ type: "error", code: "too_large", message: "Too large.", ref: "r" });
    await settle();
    expect(own(chat).map((entry) => entry.state)).toEqual(["failed", "failed"]);
    await expect(chat.send({ text: "  " })).rejects.toThrow(TypeError);
  });

  it("asks again, as a new message, what ended in an error", async () => {
    const { chat, peer: one } = await connected();
    const id = await chat.send({ text: "a" });
    one.all();
    one.say({ type: "ack", id, offset: 1 });
    one.say({ type: "error", id, code: "timeout", message: "Too slow.", ref: "r", offset: 2, timestamp: TIME });
    expect(words(chat)).toEqual(["own: a", "error: Too slow."]);
    chat.retry(id);
    await settle();
    const [again] = one.all();
    expect(again).toMatchObject({ type: "message", text: "a" });
    expect(again?.id).not.toBe(id);
  });

  it("stops an answer; what was not sent yet is withdrawn; what was, is stopped again after a break", async () => {
    const { chat, peer: one } = await connected();
    const [a, b] = [await chat.send({ text: "a" }), await chat.send({ text: "b" })];
    one.all();
    one.say({ type: "ack", id: a, offset: 1 });
    one.all();
    chat.cancel(a);
    await settle();
    expect(one.all()).toEqual([{ type: "cancel", id: a }]);
    one.end(1006);
    chat.cancel(b);
    await settle();
    expect(own(chat).map(({ id }) => id)).toEqual([a]);
    const two = await peer();
    two.all();
    two.welcome({ recovered: true, offset: 1 });
    two.say({ type: "history", events: [] });
    await settle();
    expect(two.all()).toEqual([{ type: "cancel", id: a }]);
  });

  it("keeps ratings and calls for a person until there is a connection, within a bound", async () => {
    const { chat } = tab({ storage: null });
    chat.handoff("please");
    for (let at = 0; at < 100; at++) chat.rate("m", 3);
    const one = await peer();
    one.all();
    one.welcome();
    await settle();
    const frames = one.all();
    expect(frames.length).toBe(64);
    expect(frames[0]).toEqual({ type: "handoff", reason: "please" });
  });

  it("shows typing once a second at most, and that it has stopped", async () => {
    const { chat, peer: one } = await connected();
    for (let key = 0; key < 5; key++) chat.typing(true);
    expect(one.all()).toEqual([{ type: "typing", on: true }]);
    chat.typing(false);
    chat.typing(true); // too soon
    expect(one.all()).toEqual([{ type: "typing", on: false }]);
    await pass(1_000);
    chat.typing(true);
    expect(one.all()).toEqual([{ type: "typing", on: true }]);
    await pass(5_000);
    expect(one.all()).toEqual([{ type: "typing", on: false }]);
    await pass(1_000);
    chat.typing(true);
    const id = await chat.send({ text: "a" });
    expect(one.all()).toEqual([{ type: "typing", on: true }, { type: "typing", on: false }, { type: "message", id, text: "a" }]);
  });

  it("shows that the other side types, for a while", async () => {
    const { chat, peer: one } = await connected();
    one.say({ type: "typing", on: true, author: "human" });
    expect(chat.snapshot.typing).toBe(true);
    await pass(10_000);
    expect(chat.snapshot.typing).toBe(false);
  });

  it("takes no more than can wait", async () => {
    const { chat } = tab({ storage: null });
    for (let at = 0; at < 64; at++) await chat.send({ text: "x" });
    await expect(chat.send({ text: "x" })).rejects.toThrow("Too many");
  });

  it("passes over frames that are no events", async () => {
    const { chat, peer: one } = await connected();
    for (const data of ["", "null", "7", "{", '{"no":"type"}', new ArrayBuffer(3)]) one.onmessage?.({ data });
    one.say({ type: "tomorrow" });
    expect(chat.snapshot.connection).toBe("online");
  });
});

describe("connections", () => {
  it("resume with what was seen, and send again what was not acknowledged once the missed part has come", async () => {
    const { chat, peer: one, events } = await connected();
    const id = await chat.send({ text: "a" });
    one.all();
    one.end(1006);
    expect(chat.snapshot).toMatchObject({ connection: "waiting" });
    expect(own(chat)).toMatchObject([{ state: "queued" }]);
    const two = await peer();
    expect(two.next()).toEqual({ type: "hello", conversation: "c1", epoch: "e1", offset: 0 });
    two.welcome({ recovered: true, offset: 1 });
    await settle();
    expect(two.all()).toEqual([]);
    two.say({ type: "history", events: [message(id, 1, "a")] });
    await settle();
    expect(two.all()).toEqual([]); // it had arrived
    two.say(reply(id, 2, "re"));
    expect(words(chat)).toEqual(["own: a", "reply: re"]);
    expect(events.map(({ type }) => type)).toEqual(["connected", "disconnected", "connected", "ack", "reply"]);
  });

  it("come back with full jitter, later each time", async () => {
    world.network = () => "refuse";
    const { chat } = tab({ storage: null }, { random: () => 0.999_999 });
    const waits: number[] = [];
    for (let time = 0; time < 9; time++) {
      await peer();
      await settle();
      expect(chat.snapshot.connection).toBe("waiting");
      const wait = (chat.snapshot.retryAt ?? 0) - Date.now();
      waits.push(Math.round(wait / 100) / 10);
      await pass(wait + 1);
    }
    expect(waits).toEqual([0.5, 1, 2, 4, 8, 16, 30, 30, 30]);
  });

  it("that break right after the welcome are waited for longer each time", async () => {
    const { chat } = tab({ storage: null }, { random: () => 0.999_999 });
    const waits: number[] = [];
    for (let time = 0; time < 4; time++) {
      const one = await peer();
      one.welcome();
      if (time === 3) await pass(3_000);
      one.end(1013);
      const wait = (chat.snapshot.retryAt ?? 0) - Date.now();
      waits.push(Math.round(wait / 100) / 10);
      await pass(wait + 1);
    }
    expect(waits).toEqual([0.5, 1, 2, 0.5]);
  });

  it.each([1000, 1001, 1006, 1011, 1013, 4001, 4002, 4003, 4004, 4006, 4499])("closed with %d are come back from", async (code) => {
    const { peer: one } = await connected();
    one.end(code);
    expect((await peer()).next()).toMatchObject({ type: "hello", conversation: "c1" });
  });

  it.each([4503, 4504, 4505, 4999, 1002, 1009])("closed with %d are not", async (code) => {
    const { chat, peer: one } = await connected();
    one.say({ type: "error", code: "forbidden", message: "Go away.", ref: "r" });
    one.end(code, "because");
    await expect(peer(120_000)).rejects.toThrow("nobody connects");
    expect(chat.snapshot).toMatchObject({ connection: "refused", problem: { retryable: false, text: code >= 4000 ? "Go away." : "because" } });
    chat.start(); // a person may ask for it
    expect((await peer()).next()).toMatchObject({ type: "hello" });
  });

  it("closed for a frame that was too large fail the message, and are come back from", async () => {
    const { chat, peer: one } = await connected();
    await chat.send({ text: "a" });
    one.end(1009, "too big");
    await settle();
    expect(own(chat)).toMatchObject([{ state: "failed", error: { code: "too_large" } }]);
    expect((await peer()).next()).toMatchObject({ type: "hello" });
  });

  it.each([4500, 4501, 4502])("closed with %d get one new token", async (code) => {
    let asked = 0;
    const { chat } = tab({ storage: null, token: () => token({ sub: "ann", n: ++asked }) });
    const one = await peer();
    one.end(code);
    const two = await peer();
    expect(two.token).toBe(token({ sub: "ann", n: 2 }));
    two.end(code, "no");
    await settle();
    expect(chat.snapshot.connection).toBe("refused");
    expect(asked).toBe(2);
  });

  it("wait for a token that cannot be had now, and say so", async () => {
    let failing = true;
    const { chat } = tab({
      storage: null,
      token: () => {
        if (failing) throw new Error("the shop is closed");
        return token({ sub: "ann" });
      },
    });
    await settle();
    expect(chat.snapshot).toMatchObject({ connection: "waiting", problem: { code: "no_token", retryable: true } });
    failing = false;
    const one = await peer();
    one.welcome();
    expect(chat.snapshot).not.toHaveProperty("problem");
  });

  it("are given up when nobody answers the dial, the hello or the ping", async () => {
    world.network = () => "silent";
    const { chat } = tab({ storage: null });
    const one = await peer();
    await pass(15_000);
    expect(one.closedBy).toBe(1000);
    world.network = () => "open";
    const two = await peer();
    await pass(15_000);
    expect(two.closedBy).toBe(1000);
    const three = await peer();
    three.welcome();
    await pass(25_000);
    expect(three.sent.map(String)).toContain('{"type":"ping","t":1}');
    await pass(8_000);
    expect(three.closedBy).toBe(1000);
    expect(chat.snapshot.connection).not.toBe("online");
  });

  it("are asked sooner for a sign of life when an ack is due, but a slow way is no dead one", async () => {
    const { chat, peer: one } = await connected();
    await chat.send({ text: "a" });
    one.bufferedAmount = 90_000;
    await pass(5_000);
    expect(one.sent.map(String)).toContain('{"type":"ping","t":1}');
    one.bufferedAmount = 50_000;
    await pass(8_000);
    expect(one.closedBy).toBeUndefined();
    one.bufferedAmount = 50_000;
    await pass(20_000);
    expect(one.closedBy).toBe(1000);
    await peer();
  });

  it("do not wait for sleeping timers: the page is seen again, the network is back, the clock has jumped", async () => {
    const { chat, peer: one } = await connected();
    window.dispatchEvent(new Event("offline"));
    Object.assign(navigator, { onLine: false });
    expect(one.closedBy).toBe(1000);
    world.network = () => "refuse";
    await pass(100);
    expect(chat.snapshot.connection).toBe("offline");
    for (let tries = 0; tries < 20; tries++) await pass(1_000);
    world.peers.length = 0;
    world.network = () => "open";
    Object.assign(navigator, { onLine: true });
    window.dispatchEvent(new Event("online"));
    const two = await peer(0);
    two.welcome({ recovered: true });
    two.all();
    Object.assign(document, { visibilityState: "visible" });
    document.dispatchEvent(new Event("visibilitychange"));
    expect(two.sent.map(String)).toEqual(['{"type":"ping","t":1}']);
    await pass(3_000);
    expect(two.closedBy).toBe(1000); // three seconds, not thirty
    Object.assign(document, { visibilityState: "hidden" });
    const three = await peer();
    three.welcome({ recovered: true });
    three.all();
    vi.setSystemTime(Date.now() + 3_600_000);
    for (let ms = 0; ms < 5_000 && !three.sent.length; ms += 100) await pass(100);
    expect(three.sent.map(String)).toEqual(['{"type":"ping","t":1}']);
    three.say({ type: "pong", t: 1 });
    await pass(5_000);
    expect(three.closedBy).toBeUndefined();
  });

  it("fail over to the next address, and go home when the first is back, without a pause", async () => {
    world.network = (url) => (url.startsWith("ws://one") ? "refuse" : "open");
    const { chat } = tab({ storage: null, urls: [HOME, "ws://two.test"] });
    expect((await peer()).url).toBe(HOME);
    const two = await peer();
    expect(two.url).toBe("ws://two.test/ws");
    two.all();
    two.alive = true;
    two.welcome({ offset: 3, nodes: ["ws://three.test/ws"] });
    two.say(message("x", 3, "Hi", "human"));
    await pass(15_000);
    expect((await peer(0)).url).toBe(HOME); // still away
    world.network = () => "open";
    const home = await peer();
    expect(home.url).toBe(HOME);
    expect(home.next()).toEqual({ type: "hello", conversation: "c1", epoch: "e1", offset: 3 });
    expect(two.closedBy).toBeUndefined();
    home.welcome({ recovered: true, offset: 3, nodes: ["ws://three.test/ws"] });
    await settle();
    expect(two.closedBy).toBe(1000);
    expect(chat.snapshot.connection).toBe("online");
    const id = await chat.send({ text: "a" });
    await pass(300); // what was missed may come first
    expect(home.all()).toMatchObject([{ id }]);
    home.end(1006);
    world.network = (url) => (url.startsWith("ws://three") ? "open" : "refuse");
    const urls = [];
    for (let at = 0; at < 2; at++) urls.push((await peer()).url);
    expect(urls).toEqual(["ws://two.test/ws", "ws://three.test/ws"]);
  });

  it("do not go home to a node that does not know the conversation", async () => {
    world.network = (url) => (url.startsWith("ws://one") ? "refuse" : "open");
    tab({ storage: null, urls: [HOME, "ws://two.test"] });
    await peer();
    const two = await peer();
    two.alive = true;
    two.welcome();
    world.network = () => "open";
    for (const answer of [{ recovered: false, epoch: "other" }, { recovered: true, conversation: "other" }]) {
      const home = await peer();
      expect(home.url).toBe(HOME);
      home.welcome(answer);
      await settle();
      expect(home.closedBy).toBe(1000);
    }
    const home = await peer(400_000);
    home.say({ type: "error", code: "not_found", message: "Nothing.", ref: "r" });
    await settle();
    expect(home.closedBy).toBe(1000);
    expect(two.closedBy).toBeUndefined();
  });

  it("leave a node that drains for another, after its answers", async () => {
    const { chat, peer: one } = await connected({ urls: [HOME, "ws://two.test"] });
    const id = await chat.send({ text: "a" });
    one.say({ type: "ack", id, offset: 1 });
    one.say({ type: "draining", reconnect_after_ms: 1_000 });
    await pass(5_000);
    expect(one.closedBy).toBeUndefined();
    one.say(reply(id, 2, "re"));
    await pass(500);
    expect(one.closedBy).toBe(1000);
    expect((await peer()).url).toBe("ws://two.test/ws");
  });

  it("end when told to, and begin again", async () => {
    const { chat, peer: one } = await connected();
    await chat.close();
    expect(one.closedBy).toBe(1000);
    expect(chat.snapshot.connection).toBe("closed");
    await expect(peer()).rejects.toThrow("nobody connects");
    chat.start();
    expect((await peer()).next()).toMatchObject({ type: "hello", conversation: "c1" });
  });

  it("that were never opened can be closed", async () => {
    const { chat } = tab();
    await chat.close();
    await settle();
    expect(chat.snapshot.connection).toBe("closed");
    expect(world.peers).toEqual([]);
  });

  it("are refused for good where an address may not be connected to at all", async () => {
    vi.stubGlobal("WebSocket", function refuse() {
      throw new DOMException("the policy forbids it", "SecurityError");
    });
    const { chat } = tab({ storage: null });
    await settle();
    expect(chat.snapshot).toMatchObject({ connection: "refused" });
  });

  it("need an address", () => {
    expect(() => tab({ urls: ["nonsense://x"] })).toThrow(TypeError);
  });
});

describe("tokens", () => {
  it("are renewed on the way, before they end", async () => {
    let asked = 0;
    const { chat } = tab({ storage: null, token: async () => token({ sub: "ann", n: ++asked }) });
    const one = await peer();
    one.all();
    one.welcome();
    one.say({ type: "token_expiring", seconds: 60 });
    await settle();
    expect(one.all()).toEqual([{ type: "refresh", token: token({ sub: "ann", n: 2 }) }]);
    expect(chat.snapshot.connection).toBe("online");
    one.end(1006);
    expect((await peer()).token).toBe(token({ sub: "ann", n: 2 }));
  });

  it("that live for less than a minute are not renewed all the time", async () => {
    let asked = 0;
    tab({ storage: null, token: async () => token({ sub: "ann", n: ++asked }) });
    const one = await peer();
    one.welcome();
    one.say({ type: "token_expiring", seconds: 20 });
    await settle();
    expect(asked).toBe(2);
    one.say({ type: "token_expiring", seconds: 20 });
    await pass(9_900);
    expect(asked).toBe(2);
    await pass(200);
    expect(asked).toBe(3);
    one.say({ type: "token_expiring", seconds: 20 });
    one.end(1006);
    await pass(20_000);
    expect(asked).toBe(3);
  });

  it("of a guest are kept, used again, and renewed with the old one", async () => {
    const first = tab({ token: undefined as never });
    const one = await peer();
    expect(world.guests).toEqual([undefined]);
    one.all();
    one.welcome();
    await settle();
    await first.chat.close();
    await pass(100);
    tab({ token: undefined as never });
    const two = await peer();
    expect(two.token).toBe(one.token);
    expect(world.guests).toEqual([undefined]);
    two.end(4501);
    const three = await peer();
    expect(world.guests).toEqual([undefined, one.token]);
    expect(three.token).not.toBe(one.token);
  });

  it("of a guest that is about to end is renewed before it is used", async () => {
    const first = tab({ token: undefined as never });
    const one = await peer();
    await first.chat.close();
    vi.setSystemTime(Date.now() + 3_550_000);
    tab({ token: undefined as never });
    const two = await peer();
    expect(world.guests).toEqual([undefined, one.token]);
    expect(two.token).not.toBe(one.token);
  });

  it("of a guest are asked for elsewhere where nobody answers, and refused where there are none", async () => {
    const guests = world.http;
    const asked: string[] = [];
    world.http = (url, init) => {
      asked.push(url);
      if (url.startsWith("http://one")) throw new TypeError("fetch failed");
      return guests(url, init);
    };
    tab({ storage: null, token: undefined as never, urls: [HOME, "ws://two.test"] });
    await peer();
    expect(asked).toEqual(["http://one.test/v1/guest", "http://two.test/v1/guest"]);
    world.http = () => Response.json({ code: "forbidden", message: "No guests." }, { status: 403 });
    const { chat } = tab({ storage: null, token: undefined as never });
    await settle();
    expect(chat.snapshot).toMatchObject({ connection: "refused", problem: { code: "no_token", text: "No guests." } });
    world.http = () => new Response("", { status: 503 });
    const other = tab({ storage: null, token: undefined as never });
    await settle();
    expect(other.chat.snapshot).toMatchObject({ connection: "waiting", problem: { code: "no_token", text: "HTTP 503" } });
    world.http = guests;
    await peer();
  });
});
