/** What stands in the log, one below the other: the entries with what separates and follows them. Pure. */
import type { Entry, ErrorEntry, OwnMessage, ReplyEntry, Snapshot } from "../sdk/index.js";
import { midnight } from "./words.js";

/** Messages of one author within this time belong together. */
const GROUP_MS = 5 * 60_000;

export interface Place {
  /** The first of its author's messages in a row. */
  first: boolean;
  /** The last of them. */
  last: boolean;
  /** The newest reply, whose quick replies and stars are offered; or the error that ended the newest message. */
  newest: boolean;
}

export type Item =
  | { kind: "day"; key: string; at: number }
  | ({ kind: "entry"; key: string; entry: Entry } & Place)
  | ({ kind: "wait"; key: string; own: OwnMessage | null } & Place);

function side(item: Item): string {
  if (item.kind === "day") return "day";
  if (item.kind === "wait") return item.own ? "reply" : "human";
  const { entry } = item;
  if (entry.kind === "other") return entry.author === "customer" ? "own" : "human";
  return entry.kind === "error" ? "reply" : entry.kind;
}

function at(item: Item): number {
  return item.kind === "day" ? item.at : item.kind === "wait" ? Infinity : item.entry.at;
}

export function keyOf(entry: Entry): string {
  return entry.kind === "state" ? `state:${entry.offset}` : `${entry.kind}:${entry.id}`;
}

/** @param limit at most so many of the newest entries; `hidden` says how many are left out. */
export function itemsOf(snapshot: Snapshot, limit: number): { items: Item[]; hidden: number } {
  const all = snapshot.entries;
  const hidden = Math.max(0, all.length - limit);
  const items: Item[] = [];
  const place = { first: true, last: true, newest: false };
  let day = NaN;
  for (const entry of all.slice(hidden)) {
    // A conversation begins with the assistant: that it is still there is no news.
    if (entry.kind === "state" && entry.state === "bot" && !items.some((item) => item.kind === "entry" && item.entry.kind === "state")) continue;
    if (midnight(entry.at) !== day) {
      day = midnight(entry.at);
      items.push({ kind: "day", key: `day:${day}`, at: entry.at });
    }
    items.push({ kind: "entry", key: keyOf(entry), entry, ...place });
  }
  const answered = new Set(all.flatMap((entry) => (entry.kind === "reply" || entry.kind === "error" ? [entry.id] : [])));
  const waiting = all.find((entry): entry is OwnMessage => entry.kind === "own" && entry.stage !== undefined && entry.state !== "failed" && !answered.has(entry.id));
  // The same key as the answer will have, so that the dots turn into it.
  if (waiting) items.push({ kind: "wait", key: `reply:${waiting.id}`, own: waiting, ...place });
  if (snapshot.typing) items.push({ kind: "wait", key: "typing", own: null, ...place });
  const newest = newestReply(all);
  items.forEach((item, index) => {
    if (item.kind === "day") return;
    const before = items[index - 1];
    const after = items[index + 1];
    const near = (one: Item | undefined, gap: number): boolean => one !== undefined && side(one) === side(item) && (gap < GROUP_MS || gap === Infinity || Number.isNaN(gap));
    item.first = !near(before, before ? at(item) - at(before) : 0);
    item.last = !near(after, after ? at(after) - at(item) : 0);
    item.newest = item.kind === "entry" && item.entry === newest;
  });
  return { items, hidden };
}

/** The reply or error that ends the conversation so far, if the customer has not written on. */
export function newestReply(entries: readonly Entry[]): ReplyEntry | ErrorEntry | undefined {
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index];
    if (entry?.kind === "reply") return entry.done ? entry : undefined;
    if (entry?.kind === "error") return entry;
    if (entry?.kind === "own" || entry?.kind === "other") return undefined;
  }
  return undefined;
}

/** The message whose answer is on its way, for the stop button: being answered, or waiting for that. */
export function answering(entries: readonly Entry[]): string | undefined {
  const open = entries.find((entry) => entry.kind === "reply" && !entry.done) as ReplyEntry | undefined;
  if (open) return open.id;
  const ended = new Set(entries.flatMap((entry) => (entry.kind === "reply" || entry.kind === "error" ? [entry.id] : [])));
  return entries.find((entry): entry is OwnMessage => entry.kind === "own" && entry.state === "sent" && entry.stage !== undefined && !ended.has(entry.id))?.id;
}

/** What the customer may not have read yet: whole answers, errors, and what people of the shop wrote. */
export function incoming(entries: readonly Entry[]): readonly Entry[] {
  return entries.filter((entry) => (entry.kind === "reply" ? entry.done : entry.kind === "error" || (entry.kind === "other" && entry.author === "human")));
}
