import { describe, expect, it } from "vitest";
import type { Entry, Snapshot } from "../../src/sdk/index.js";
import { answering, incoming, type Item, itemsOf, newestReply } from "../../src/widget/items.js";
import { NOON, own, reply } from "./setup.js";

const snapshot = (entries: Entry[], more: Partial<Snapshot> = {}): Snapshot => ({ entries, connection: "online", state: "bot", typing: false, ...more });
const keys = (entries: Entry[], more: Partial<Snapshot> = {}): string[] => itemsOf(snapshot(entries, more), 100).items.map((item) => item.key);
const entryItem = (items: Item[], key: string): Item & { kind: "entry" } => items.find((item) => item.key === key) as Item & { kind: "entry" };
const DAY = 86_400_000;

describe("items", () => {
  it("have a separator before each day's first", () => {
    const all = keys([own("1", { at: NOON - DAY }), reply("1", { at: NOON - DAY }), own("2"), reply("2")]);
    expect(all.map((key) => key.split(":")[0])).toEqual(["day", "own", "reply", "day", "own", "reply"]);
  });

  it("are the newest where there are many", () => {
    const many = Array.from({ length: 30 }, (_, index) => own(String(index)));
    const { items, hidden } = itemsOf(snapshot(many), 10);
    expect(hidden).toBe(20);
    expect(items.filter((item) => item.kind === "entry").map((item) => item.key)[0]).toBe("own:20");
  });

  it("belong together when one author wrote them soon after one another", () => {
    const { items } = itemsOf(snapshot([own("1"), own("2", { at: NOON + 1000 }), own("3", { at: NOON + 600_000 }), reply("3", { at: NOON + 601_000 })]), 100);
    const shape = (key: string): boolean[] => [entryItem(items, key).first, entryItem(items, key).last];
    expect(shape("own:1")).toEqual([true, false]);
    expect(shape("own:2")).toEqual([false, true]);
    expect(shape("own:3")).toEqual([true, true]);
    expect(shape("reply:3")).toEqual([true, true]);
  });

  it("say that an answer is being made, under the key that it will have", () => {
    const waiting = own("1", { stage: "queued", position: 2 });
    expect(keys([waiting]).at(-1)).toBe("reply:1");
    expect(keys([waiting, reply("1", { done: false })])).toEqual([expect.stringMatching("day"), "own:1", "reply:1"]);
    expect(keys([waiting, { kind: "error", id: "1", code: "timeout", text: "late", at: NOON }])).not.toContain("reply:1");
    expect(keys([{ ...waiting, state: "failed" }])).not.toContain("reply:1");
    expect(keys([own("1")], { typing: true }).at(-1)).toBe("typing");
  });

  it("leave out that the assistant answers, until somebody else did", () => {
    const bot: Entry = { kind: "state", state: "bot", at: NOON, offset: 1 };
    const human: Entry = { kind: "state", state: "human", at: NOON, offset: 2 };
    expect(keys([bot, own("1")])).not.toContain("state:1");
    expect(keys([human, { ...bot, offset: 3 }])).toContain("state:3");
  });
});

it("only a whole reply at the end is the newest", () => {
  expect(newestReply([own("1"), reply("1")])?.id).toBe("1");
  expect(newestReply([own("1"), reply("1"), own("2")])).toBeUndefined();
  expect(newestReply([own("1"), reply("1", { done: false })])).toBeUndefined();
  expect(newestReply([own("1"), { kind: "error", id: "1", code: "timeout", text: "", at: NOON }])?.kind).toBe("error");
  expect(newestReply([])).toBeUndefined();
  expect(newestReply([reply("1"), { kind: "state", state: "waiting", at: NOON, offset: 3 }])?.id).toBe("1");
});

it("what can be stopped is what is being answered", () => {
  expect(answering([own("1"), reply("1", { done: false })])).toBe("1");
  expect(answering([own("1"), reply("1")])).toBeUndefined();
  expect(answering([own("1", { stage: "understanding" })])).toBe("1");
  expect(answering([own("1", { state: "queued" })])).toBeUndefined();
  expect(answering([own("1", { stage: "answering" }), { kind: "error", id: "1", code: "cancelled", text: "", at: NOON }])).toBeUndefined();
});

it("what comes in is whole answers, errors and people", () => {
  const human: Entry = { kind: "other", id: "h", author: "human", text: "hi", at: NOON, offset: 4 };
  const tab: Entry = { kind: "other", id: "t", author: "customer", text: "hi", at: NOON, offset: 5 };
  const error: Entry = { kind: "error", id: "e", code: "timeout", text: "", at: NOON };
  expect(incoming([own("1"), reply("1"), reply("2", { done: false }), human, tab, error])).toEqual([reply("1"), human, error]);
});
