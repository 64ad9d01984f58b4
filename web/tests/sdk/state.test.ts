import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ServerHistory, ServerWelcome } from "../../src/sdk/protocol.js";
import { type ChatEvent, entriesOf, type LocalEvent, MAX_LOG, news, reduce, START, type State } from "../../src/sdk/state.js";
import type { OwnMessage } from "../../src/sdk/types.js";
import { TIME } from "./fakes.js";

type Any = ChatEvent | LocalEvent;

/** Nothing that reduce is given may be changed by it. */
function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}
const run = (events: readonly Any[], state: State = START): State => events.reduce((before, event) => freeze(reduce(freeze(before), freeze(event))), state);

const welcome = (more: Partial<ServerWelcome> = {}): ServerWelcome => ({ type: "welcome", conversation: "c", epoch: "e", offset: 0, recovered: false, limits: {}, engine: {}, nodes: [], ...more });
const message = (id: string, offset: number, author: "customer" | "human" = "customer"): ChatEvent => ({ type: "message", id, offset, author, text: `said ${id}`, timestamp: TIME });
const reply = (id: string, offset: number, text = `re ${id}`): ChatEvent => ({
  type: "reply",
  id,
  offset,
  text,
  intent: null,
  sentiment: null,
  tags: [],
  analysis: "",
  source: "canned",
  timestamp: TIME,
  timing: {},
  quick_replies: [],
  format: "markdown",
});
const error = (id: string, offset: number): ChatEvent => ({ type: "error", id, offset, code: "timeout", message: "Too slow.", ref: "r", timestamp: TIME });
const put = (id: string, at = 1, more: Partial<OwnMessage> = {}): LocalEvent => ({ type: "put", entry: { kind: "own", id, text: `said ${id}`, at, state: "queued", ...more }, after: 0 });

/** A log as a gateway would write it: each message is answered once, later, in order. */
const log = fc
  .array(fc.record({ kind: fc.constantFrom("customer", "human", "state", "rate", "answer", "fail"), n: fc.nat(9) }), { maxLength: 30 })
  .map((steps) => {
    const events: ChatEvent[] = [];
    const open: string[] = [];
    const answered: string[] = [];
    for (const [index, { kind, n }] of steps.entries()) {
      const offset = events.length + 1;
      const id = `m${index}`;
      if (kind === "customer") {
        open.push(id);
        events.push(message(id, offset));
      } else if (kind === "human") events.push(message(id, offset, "human"));
      else if (kind === "state") events.push({ type: "state", state: (["bot", "waiting", "human", "closed"] as const)[n % 4] ?? "bot", offset, timestamp: TIME });
      else if (kind === "rate" && answered.length) events.push({ type: "rate", reply: answered[n % answered.length] as string, score: (n % 5) + 1, offset, timestamp: TIME });
      else if ((kind === "answer" || kind === "fail") && open.length) {
        const first = open.shift() as string;
        if (kind === "answer") answered.push(first);
        events.push(kind === "answer" ? reply(first, offset) : error(first, offset));
      }
    }
    return events;
  });

describe("the log", () => {
  it("looks the same however it is cut into pages, histories and live events, and however often parts of it come again", () => {
    fc.assert(
      fc.property(log, fc.array(fc.nat(40), { maxLength: 6 }), fc.nat(40), (events, cuts, again) => {
        const whole = run([welcome(), ...events]);
        const places = [...new Set([0, ...cuts.map((cut) => Math.min(cut, events.length)), events.length])].sort((a, b) => a - b);
        const parts: Any[] = [welcome()];
        for (let at = 1; at < places.length; at++) {
          const [from, to] = [places[at - 1] as number, places[at] as number];
          const overlap = Math.max(0, from - (again % 5));
          parts.push(welcome({ recovered: true }));
          parts.push({ type: "history", events: events.slice(overlap, to) as ServerHistory["events"] });
        }
        const state = run(parts);
        expect(state).toEqual(whole);
        // And once more, all of it: a page that comes after a reload.
        expect(run([{ type: "history", events: events as ServerHistory["events"] }], state)).toEqual(whole);
      }),
    );
  });

  it("is in order of offset, with each event once, and the last state and ratings hold", () => {
    fc.assert(
      fc.property(log, (events) => {
        const state = run([welcome(), ...events]);
        const offsets = state.log.map((entry) => entry.offset);
        expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
        expect(state.log.length).toBe(events.filter((event) => event.type !== "rate").length);
        expect(state.offset).toBe(events.length);
        const last = events.findLast((event) => event.type === "state");
        expect(state.mode).toBe(last?.type === "state" ? last.state : "bot");
        for (const event of events) {
          if (event.type !== "rate") continue;
          const final = events.findLast((other) => other.type === "rate" && other.reply === event.reply);
          const entry = state.log.find((one) => one.kind === "reply" && one.id === event.reply);
          expect(entry?.kind === "reply" && entry.rating).toBe(final?.type === "rate" && final.score);
        }
      }),
    );
  });

  it("tells each event as new exactly once", () => {
    fc.assert(
      fc.property(log, fc.nat(10), (events, back) => {
        let state = run([welcome()]);
        const told: ChatEvent[] = [];
        for (const [index] of events.entries()) {
          for (const event of events.slice(Math.max(0, index - back), index + 1)) {
            const fresh = news(state, event);
            if (fresh) told.push(fresh);
            state = run([event], state);
          }
        }
        expect(told).toEqual(events);
      }),
    );
  });

  it("is bounded", () => {
    const state = run([welcome(), ...Array.from({ length: MAX_LOG + 20 }, (_, at) => message(`m${at}`, at + 1))]);
    expect(state.log.length).toBe(MAX_LOG);
    expect(state.log[0]?.offset).toBe(21);
  });

  it("starts over where it is another one, and keeps what waits", () => {
    const before = run([welcome(), message("a", 1), put("b")]);
    const gap = run([welcome({ offset: 9 })], before);
    expect(gap.log).toEqual(before.log);
    const anew = run([welcome({ epoch: "other" })], before);
    expect(anew.log).toEqual([]);
    expect(anew.waiting).toEqual(before.waiting);
    expect(anew.offset).toBe(0);
    const shorter = run([welcome({ offset: 0 })], before);
    expect(shorter.log).toEqual([]);
  });
});

describe("own messages", () => {
  const life: Any[] = [put("a", 1), { type: "ack", id: "a", offset: 1 }, { type: "progress", id: "a", stage: "queued", position: 2 }, { type: "progress", id: "a", stage: "answering" }];

  it("go from waiting to the log, whichever word of it comes first", () => {
    const acked = run([welcome(), put("a", 1), { type: "ack", id: "a", offset: 1 }]);
    const told = run([welcome(), put("a", 1), message("a", 1)]);
    for (const state of [acked, told]) {
      expect(state.waiting).toEqual([]);
      expect(state.log).toMatchObject([{ kind: "own", id: "a", state: "sent", offset: 1 }]);
    }
    expect(run([message("a", 1), put("a", 1), { type: "ack", id: "a", offset: 1 }], acked).log.length).toBe(1);
  });

  it("say what is being done with them until they are answered", () => {
    const state = run([welcome(), ...life.slice(0, 3)]);
    expect(state.log[0]).toMatchObject({ stage: "queued", position: 2 });
    expect(run([life[3] as Any], state).log[0]).not.toHaveProperty("position");
    for (const final of [reply("a", 2), error("a", 2)]) {
      const done = run([...life, final], run([welcome()]));
      expect(done.log[0]).not.toHaveProperty("stage");
      expect(run([life[3] as Any], done)).toBe(done);
    }
  });

  it("keep the picture that is shown already, and take the gateway's after a reload", () => {
    const shown = { picture: { url: "blob:x", width: 3, height: 4 } };
    const said: ChatEvent = { type: "message", id: "a", offset: 1, author: "customer", text: "", timestamp: TIME, image_url: "https://x.test/p" };
    expect(run([welcome(), put("a", 1, shown), said]).log[0]).toMatchObject(shown);
    const reloaded = run([welcome(), put("a", 1), said]);
    expect(reloaded.log[0]).toMatchObject({ picture: { url: "https://x.test/p" } });
    const fresh = run([{ ...said, image_url: "https://x.test/p?new" }], reloaded);
    expect(fresh.log[0]).toMatchObject({ picture: { url: "https://x.test/p?new" } });
  });

  it("stand where they were written if they fail, and last while they wait, before answers in progress", () => {
    const failed: LocalEvent = { type: "put", entry: { kind: "own", id: "f", text: "", at: 5, state: "failed" }, after: 1 };
    const delta: ChatEvent = { type: "delta", id: "b", attempt: 1, seq: 1, text: "On" };
    const state = run([welcome(), message("a", 1), message("b", 2), failed, put("w", 9), put("v", 8), delta]);
    expect(entriesOf(state).map((entry) => (entry.kind === "state" ? "" : entry.id))).toEqual(["a", "f", "b", "v", "w", "b"]);
    expect(entriesOf(run([{ type: "drop", id: "f" }, { type: "drop", id: "nobody" }], state)).length).toBe(5);
  });

  it("that are asked of a person leave no empty answer behind", () => {
    const muted = reply("a", 2, "");
    expect(entriesOf(run([welcome(), message("a", 1), muted])).map((entry) => entry.kind)).toEqual(["own"]);
  });
});

describe("an answer in progress", () => {
  const pieces = fc.array(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 });

  it("is what its pieces make, however often and late they come again", () => {
    fc.assert(
      fc.property(pieces, fc.array(fc.nat(11), { maxLength: 10 }), fc.nat(12), (texts, echoes, cut) => {
        const deltas = texts.map((text, at): ChatEvent => ({ type: "delta", id: "a", attempt: 1, seq: at + 1, text }));
        const events: ChatEvent[] = [];
        for (const [at, delta] of deltas.entries()) {
          if (at === cut) events.push({ type: "snapshot", id: "a", attempt: 1, seq: at + 1, text: texts.slice(0, at + 1).join("") });
          events.push(delta);
          const echo = echoes[at];
          if (echo !== undefined && echo <= at) events.push(deltas[echo] as ChatEvent);
        }
        let state = run([welcome(), message("a", 1)]);
        let told = "";
        for (const event of events) {
          const fresh = news(state, event);
          if (fresh?.type === "delta") told += fresh.text;
          else if (fresh?.type === "snapshot") told = fresh.text;
          state = run([event], state);
        }
        expect(state.live[0]?.entry.text).toBe(texts.join(""));
        expect(told).toBe(texts.join(""));
        const done = run([reply("a", 2, "whole"), ...deltas], state);
        expect(done.live).toEqual([]);
        expect(done.log.at(-1)).toMatchObject({ kind: "reply", text: "whole", done: true });
      }),
    );
  });

  it("starts afresh with a higher attempt, and never goes back", () => {
    const anew = run([welcome(), { type: "delta", id: "a", attempt: 1, seq: 1, text: "On " }, { type: "snapshot", id: "a", attempt: 2, seq: 3, text: "It " }]);
    expect(anew.live[0]?.entry.text).toBe("It ");
    const late = run([{ type: "delta", id: "a", attempt: 1, seq: 9, text: "its" }], anew);
    expect(late).toBe(anew);
    const jump = run([{ type: "delta", id: "a", attempt: 3, seq: 1, text: "No" }], anew);
    expect(jump.live[0]?.entry.text).toBe("No");
  });

  it("keeps its identity for those that did not change", () => {
    const state = run([welcome(), message("a", 1), { type: "delta", id: "a", attempt: 1, seq: 1, text: "On" }]);
    const next = run([{ type: "delta", id: "a", attempt: 1, seq: 2, text: "!" }], state);
    expect(entriesOf(next)[0]).toBe(entriesOf(state)[0]);
    expect(entriesOf(next)[1]).not.toBe(entriesOf(state)[1]);
  });
});

describe("the rest", () => {
  it("shows only that somebody of the shop types", () => {
    expect(run([{ type: "typing", on: true, author: "customer" }]).typing).toBe(false);
    const typing = run([{ type: "typing", on: true, author: "human" }]);
    expect(typing.typing).toBe(true);
    expect(run([message("h", 1, "human")], typing).typing).toBe(false);
    expect(run([{ type: "quiet" }], typing).typing).toBe(false);
  });
  it("shows one's own rating at once", () => {
    const state = run([welcome(), message("a", 1), reply("a", 2), { type: "rated", reply: "a", score: 4 }]);
    expect(state.log.at(-1)).toMatchObject({ rating: 4 });
    expect(run([{ type: "rated", reply: "nobody", score: 4 }], state)).toBe(state);
  });
  it("passes over what belongs to nobody", () => {
    const state = run([welcome()]);
    expect(run([{ type: "ack", id: "x", offset: 1 }], state)).toBe(state);
    expect(run([{ type: "progress", id: "x", stage: "queued" }], state)).toBe(state);
    expect(run([{ type: "error", code: "internal", message: "", ref: "" }], state)).toBe(state);
    expect(run([{ type: "error", code: "internal", message: "", ref: "", offset: 1, timestamp: "no time" }], state).offset).toBe(1);
  });
  it("reads every field of a reply", () => {
    const full: ChatEvent = { ...(reply("a", 1) as Extract<ChatEvent, { type: "reply" }>), intent: { name: "praise", confidence: 0.9 }, sentiment: { label: "positive", score: 0.8 }, tags: [{ name: "heart", label: "heart", score: 0.7 }], quick_replies: ["Thanks"], timing: { total: 3 }, image_url: "https://x.test/r", stopped: true };
    expect(run([full]).log[0]).toEqual({
      kind: "reply", id: "a", text: "re a", done: true, stopped: true, intent: { name: "praise", confidence: 0.9 }, sentiment: { label: "positive", score: 0.8 }, tags: [{ name: "heart", label: "heart", score: 0.7 }],
      analysis: "", source: "canned", timing: { total: 3 }, quickReplies: ["Thanks"], picture: { url: "https://x.test/r" }, at: Date.parse(TIME), offset: 1,
    });
  });
});
