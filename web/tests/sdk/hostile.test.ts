import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Backoff } from "../../src/sdk/backoff.js";
import { MAX_TEXT, read } from "../../src/sdk/read.js";
import { begin, connected, finish, message, own, pass, replies, reply, settle, words } from "./fakes.js";

beforeEach(begin);
afterEach(finish);

describe("a frame", () => {
  const parsed = (event: object): unknown => read(JSON.stringify(event));

  it("that is not what its type says is passed over", () => {
    const odd: object[] = [
      { type: "reply", id: "a", offset: "1", text: "x" },
      { type: "reply", id: "a", offset: 1, text: 7 },
      { type: "reply", id: 3, offset: 1, text: "x" },
      { type: "message", id: "a", text: "x" },
      { type: "message", id: "a", offset: null, text: "x" },
      { type: "delta", id: "a", attempt: 1, text: "x" },
      { type: "state", state: "constructor", offset: 1 },
      { type: "error", code: "internal", message: {} },
      { type: "progress", id: "a" },
      { type: "draining", reconnect_after_ms: "soon" },
      { type: "welcome", conversation: "c", epoch: 1, offset: 0 },
      { type: "tomorrow" },
      { type: "constructor" },
      { type: "__proto__" },
      { type: ["reply"] },
      [],
    ];
    for (const event of odd) expect(parsed(event), JSON.stringify(event)).toBeUndefined();
    for (const data of ["", "null", "7", "{", "\"reply\"", new ArrayBuffer(3), undefined]) expect(read(data)).toBeUndefined();
  });

  it("loses only what it may do without", () => {
    const whole = { tags: [], quick_replies: [], analysis: "", source: "", intent: null, sentiment: null, timing: {} };
    const odd = { tags: [null, 7, { name: "x" }], quick_replies: ["yes", { no: 1 }], analysis: {}, source: 4, intent: { name: "x", confidence: "y" }, sentiment: "happy", timing: 3, image_url: ["javascript:"], timestamp: 5 };
    expect(parsed({ type: "reply", id: "a", offset: 1, text: "x", ...odd })).toEqual({ type: "reply", id: "a", offset: 1, text: "x", ...whole, quick_replies: ["yes"] });
    expect(parsed({ type: "welcome", conversation: "c", epoch: "e", offset: 0, nodes: "wss://evil", limits: null, engine: 3 })).toEqual({ type: "welcome", conversation: "c", epoch: "e", offset: 0, nodes: [], limits: {}, engine: {} });
    expect(parsed({ type: "history", events: [message("a", 1, "x"), { type: "message" }, null, { type: "pong" }] })).toMatchObject({ events: [{ id: "a" }, { type: "pong" }] });
    expect(parsed({ type: "history", events: "none" })).toEqual({ type: "history", events: [] });
    const good = reply("a", 1, "x", { tags: [{ name: "n", label: "l", score: 0.5 }], intent: { name: "i", confidence: 1 }, sentiment: { label: "positive", score: 1 }, timing: { total: 3 }, image_url: "/media/x" });
    expect(parsed(good)).toEqual(good);
  });

  it("is cut where it would keep a browser busy for minutes", () => {
    expect(parsed({ type: "message", id: "a", offset: 1, text: "x".repeat(MAX_TEXT + 1) })).toMatchObject({ text: "x".repeat(MAX_TEXT) });
  });

  it("never raises, and never brings down what is shown", async () => {
    const { chat, peer: one } = await connected();
    const types = ["ack", "delta", "draining", "error", "history", "message", "progress", "rate", "reply", "snapshot", "state", "typing", "welcome", "token_expiring", "pong"];
    const field = fc.constantFrom("id", "offset", "text", "attempt", "seq", "state", "events", "tags", "reply", "score", "code", "message", "stage", "author", "on", "timestamp", "image_url");
    const value = fc.oneof(fc.jsonValue(), fc.integer({ min: 1, max: 9 }), fc.constantFrom("a", "b"));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), fc.array(fc.tuple(field, value)), async (type, fields) => {
        one.say({ ...Object.fromEntries(fields), type });
        for (const entry of chat.snapshot.entries) {
          if ("text" in entry) expect(typeof entry.text).toBe("string");
          expect(Number.isFinite(entry.at)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("an answer", () => {
  it("that never ends is bounded", async () => {
    const { chat, peer: one } = await connected();
    for (let seq = 1; seq <= 5; seq++) one.say({ type: "delta", id: "a", attempt: 1, seq, text: "x".repeat(MAX_TEXT / 4) });
    expect(replies(chat)[0]?.text.length).toBe(MAX_TEXT);
  });
});

describe("a delay", () => {
  it("that no timer can hold is an hour or two", () => {
    const backoff = new Backoff(() => 1);
    expect(backoff.spread(1e15)).toBeLessThanOrEqual(7_200_000);
    expect(backoff.within(1e15)).toBeLessThanOrEqual(3_600_000);
  });
});

describe("halves of characters", () => {
  it("are made whole: the gateway could not read them, and nothing would ever be sent again", async () => {
    const { chat, peer: one } = await connected();
    await chat.send({ text: "ok \ud83d" });
    expect(one.all()).toMatchObject([{ text: "ok \ufffd" }]);
    chat.rate("r", 5, `${"x".repeat(1999)}👍`);
    chat.handoff(`${"x".repeat(499)}👍`);
    expect(one.all()).toEqual([{ type: "rate", reply: "r", score: 5, comment: `${"x".repeat(1999)}\ufffd` }, { type: "handoff", reason: `${"x".repeat(499)}\ufffd` }]);
  });

  it("and whatever else was no JSON fail the message that was on its way", async () => {
    const { chat, peer: one } = await connected();
    await chat.send({ text: "a" });
    await chat.send({ text: "b" });
    one.all();
    one.say({ type: "error", code: "bad_json", message: "No JSON.", ref: "r" });
    await settle();
    expect(own(chat)[0]).toMatchObject({ state: "failed", error: { code: "bad_json" } });
    expect(one.all()).toMatchObject([{ text: "b" }]);
  });
});

describe("listeners", () => {
  it("hear everything though one of them raises", async () => {
    const { chat, peer: one } = await connected();
    const heard = vi.fn();
    chat.subscribe(() => {
      throw new Error("mine");
    });
    chat.subscribe(heard);
    one.say(message("h", 1, "hello", "human"));
    await settle();
    expect(heard).toHaveBeenCalledTimes(1);
    expect(() => vi.advanceTimersByTime(1)).toThrow("mine"); // where the page's own error handling sees it
  });

  it("hear of what comes while the page is hidden, though its next frame never comes", async () => {
    const { chat, peer: one } = await connected();
    const heard = vi.fn();
    chat.subscribe(heard);
    (document as { visibilityState: string }).visibilityState = "visible";
    vi.stubGlobal("requestAnimationFrame", () => 1);
    one.say({ type: "delta", id: "a", attempt: 1, seq: 1, text: "." });
    (document as { visibilityState: string }).visibilityState = "hidden";
    one.say(reply("a", 1, "done"));
    await pass(300);
    expect(heard).toHaveBeenCalledTimes(1);
    one.say(reply("b", 2, "next"));
    await settle();
    expect(heard).toHaveBeenCalledTimes(2);
    expect(words(chat)).toEqual(["reply: done", "reply: next"]);
  });
});

describe("a clock that is set back", () => {
  it("keeps no dead connection alive", async () => {
    const { chat, peer: one } = await connected();
    vi.setSystemTime(Date.now() - 3_600_000);
    await pass(26_000);
    await pass(9_000);
    expect(one.closedBy).toBe(1000);
    expect(chat.snapshot.connection).not.toBe("online");
  });
});
