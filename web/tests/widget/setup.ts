/** What jsdom lacks and the widget uses; and a conversation that does what a test says. */
import { vi } from "vitest";
import type { Entry, OwnMessage, ReplyEntry, Snapshot } from "../../src/sdk/index.js";
import type { ChatLike } from "../../src/widget/panel.js";

export const media = new Map<string, boolean>();

export function prepareBrowser(): void {
  media.clear();
  vi.stubGlobal("matchMedia", (query: string) => ({
    get matches() {
      return media.get(query) ?? false;
    },
    addEventListener() {},
    removeEventListener() {},
  }));
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe(): void {}
      disconnect(): void {}
    },
  );
  vi.stubGlobal(
    "CSSStyleSheet",
    class {
      replaceSync(): void {}
    },
  );
  URL.createObjectURL = () => "blob:https://page.example/1";
  URL.revokeObjectURL = () => {};
  Element.prototype.scrollTo = () => {};
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = function () {
    this.open = false;
    this.dispatchEvent(new Event("close"));
  };
}

export interface FakeChat extends ChatLike {
  calls: unknown[][];
  set(next: Partial<Snapshot>): void;
  failNext(error: unknown): void;
}

export function fakeChat(first: Partial<Snapshot> = {}): FakeChat {
  let snapshot: Snapshot = { entries: [], connection: "online", state: "bot", typing: false, conversation: "c1", ...first };
  const listeners = new Set<(snapshot: Snapshot) => void>();
  const calls: unknown[][] = [];
  let failure: unknown;
  const note =
    (name: string) =>
    (...rest: unknown[]): void =>
      void calls.push([name, ...rest]);
  return {
    calls,
    get snapshot() {
      return snapshot;
    },
    set(next) {
      snapshot = { ...snapshot, ...next };
      for (const listener of listeners) listener(snapshot);
    },
    failNext: (error) => void (failure = error),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async send(message) {
      calls.push(["send", message]);
      if (failure) throw failure;
      return "id";
    },
    start: note("start"),
    async close() {
      calls.push(["close"]);
    },
    retry: note("retry"),
    discard: note("discard"),
    cancel: note("cancel"),
    rate: note("rate"),
    handoff: note("handoff"),
    typing: note("typing"),
    async reset() {
      calls.push(["reset"]);
    },
  };
}

export const NOON = new Date(2026, 4, 20, 12).getTime();

export function own(id: string, more: Partial<OwnMessage> = {}): OwnMessage {
  return { kind: "own", id, text: `message ${id}`, at: NOON, state: "sent", offset: 1, ...more };
}

export function reply(id: string, more: Partial<ReplyEntry> = {}): ReplyEntry {
  return { kind: "reply", id, text: `answer ${id}`, done: true, stopped: false, tags: [], analysis: "", source: "canned", timing: {}, quickReplies: [], at: NOON + 1000, offset: 2, ...more };
}

export function entries(...all: Entry[]): Pick<Snapshot, "entries"> {
  return { entries: all };
}
