/** What is known of a conversation, and what each event makes of it. Pure: nothing here is ever changed in place. */
import type {
  ServerAck,
  ServerDelta,
  ServerError,
  ServerEnvelope,
  ServerHistory,
  ServerMessage,
  ServerProgress,
  ServerRate,
  ServerReply,
  ServerSnapshot,
  ServerState,
  ServerTyping,
  ServerWelcome,
} from "./protocol.js";
import { MAX_TEXT } from "./read.js";
import type { ConversationState, Entry, ErrorEntry, OtherMessage, OwnMessage, PictureView, ReplyEntry, StateEntry } from "./types.js";

/** An entry that has its place in the log. */
export type Logged = Entry & { offset: number };

/** An answer in progress. */
export interface Live {
  readonly entry: ReplyEntry;
  readonly attempt: number;
  readonly seq: number;
}

/** An own message that is not in the log. */
export interface Waiting {
  readonly entry: OwnMessage;
  /** The newest offset when it was written: where it stays if it fails. */
  readonly after: number;
}

export interface State {
  readonly conversation?: string;
  readonly epoch?: string;
  /** The highest one seen. */
  readonly offset: number;
  /** That of the newest `state`, which may come behind a page with an older one. */
  readonly stateOffset: number;
  readonly mode: ConversationState;
  /** By offset. */
  readonly log: readonly Logged[];
  readonly live: readonly Live[];
  /** In the order in which they were written. */
  readonly waiting: readonly Waiting[];
  readonly typing: boolean;
}

export const START: State = { offset: 0, stateOffset: 0, mode: "bot", log: [], live: [], waiting: [], typing: false };

/** Entries of the log that are kept. */
export const MAX_LOG = 500;
const MAX_LIVE = 64;

/** What the conversation itself tells. */
export type ChatEvent =
  | ServerAck
  | ServerDelta
  | ServerError
  | ServerMessage
  | ServerProgress
  | ServerRate
  | ServerReply
  | ServerSnapshot
  | ServerState
  | ServerTyping;

/** What happens on this side. */
export type LocalEvent =
  | ServerWelcome
  | ServerHistory
  /** An own message is new, or something about it is. */
  | { type: "put"; entry: OwnMessage; after: number }
  /** An own message is withdrawn. */
  | { type: "drop"; id: string }
  | { type: "rated"; reply: string; score: number }
  | { type: "quiet" }
  /** The newest page came instead of what was missed; it begins at `first`. */
  | { type: "page"; first: number }
  /** There is no conversation any more, or another one; own messages stay. */
  | { type: "forget"; conversation?: string }
  /** What was seen before the page was loaded. */
  | { type: "restore"; state: State };

const CHAT_EVENTS: readonly string[] = ["ack", "delta", "error", "message", "progress", "rate", "reply", "snapshot", "state", "typing"];

export function isChatEvent(event: ServerEnvelope): event is ChatEvent {
  return CHAT_EVENTS.includes(event.type);
}

// --- what is new -------------------------------------------------------------------------------------------------------

/**
 * What of `event` was not known, or undefined. Each event comes once and in order, however often a connection brings it;
 * the log's word of an own message is as good as its ack; a snapshot that continues what there is becomes a delta.
 */
export function news(state: State, event: ChatEvent): ChatEvent | undefined {
  switch (event.type) {
    case "message":
      if (event.offset <= state.offset) return undefined;
      if (event.author !== "customer") return event;
      if (isWaiting(state, event.id)) return { type: "ack", id: event.id, offset: event.offset };
      return findOwn(state, event.id) ? undefined : event;
    case "rate":
    case "reply":
      return event.offset > state.offset ? event : undefined;
    case "error":
      return !event.offset || event.offset > state.offset ? event : undefined;
    case "state":
      return event.offset > state.stateOffset ? event : undefined;
    case "ack":
      return isWaiting(state, event.id) ? event : undefined;
    case "delta":
    case "snapshot": {
      if (hasEnded(state, event.id)) return undefined;
      const live = state.live.find(({ entry }) => entry.id === event.id);
      if (!live) return event;
      if (event.attempt < live.attempt || (event.attempt === live.attempt && event.seq <= live.seq)) return undefined;
      const { text } = live.entry;
      if (event.type === "snapshot" && event.attempt === live.attempt && event.text.startsWith(text)) {
        return { ...event, type: "delta", text: event.text.slice(text.length) };
      }
      return event;
    }
    default:
      return event;
  }
}

const isWaiting = (state: State, id: string): boolean => state.waiting.some(({ entry }) => entry.id === id);
const hasEnded = (state: State, id: string): boolean => state.log.some((entry) => (entry.kind === "reply" || entry.kind === "error") && entry.id === id);
const findOwn = (state: State, id: string): Logged | undefined => state.log.find((entry) => entry.kind === "own" && entry.id === id);

/** Why what was there before a welcome cannot simply go on. */
export function lost(state: State, welcome: ServerWelcome): "gap" | "new_log" | undefined {
  if (welcome.recovered || state.epoch === undefined) return undefined;
  return state.epoch === welcome.epoch && welcome.offset >= state.offset ? "gap" : "new_log";
}

// --- what it makes of the state ----------------------------------------------------------------------------------------

/** The state after `event`; the same object where nothing changes. */
export function reduce(state: State, event: ChatEvent | LocalEvent): State {
  switch (event.type) {
    case "welcome":
      return welcomed(state, event);
    case "history":
      return event.events.reduce<State>(reduce, state);
    case "message":
      return seen(message(state, event), event.offset);
    case "ack": {
      const waiting = state.waiting.find(({ entry }) => entry.id === event.id);
      return waiting ? acknowledged(state, waiting, event.offset) : state;
    }
    case "progress":
      return progress(state, event);
    case "delta":
    case "snapshot":
      return piece(state, event);
    case "reply":
      return seen(ended(state, event.id, replyEntry(event, state)), event.offset);
    case "error":
      if (!event.offset) return state; // of a connection, not of the conversation
      return seen(event.id ? ended(state, event.id, errorEntry(event, state)) : state, event.offset);
    case "state": {
      const next = seen(state, event.offset);
      if (event.offset <= state.stateOffset) return next;
      const entry: StateEntry = { kind: "state", state: event.state, at: time(state, event.timestamp), offset: event.offset };
      return { ...next, mode: event.state, stateOffset: event.offset, log: inserted(next.log, entry as Logged) };
    }
    case "rate":
      // One that is told a second time may be older than what is known.
      return event.offset > state.offset || !isRated(state, event.reply) ? seen(rated(state, event.reply, event.score), event.offset) : state;
    case "typing":
      return event.author === "human" && event.on !== state.typing ? { ...state, typing: event.on } : state;
    case "put":
      return put(state, event.entry, event.after);
    case "drop":
      return isWaiting(state, event.id) ? { ...state, waiting: state.waiting.filter(({ entry }) => entry.id !== event.id) } : state;
    case "rated":
      return rated(state, event.reply, event.score);
    case "page":
      // What is older was answered, or lost, while nobody heard; a snapshot follows of what is still being answered.
      return { ...state, live: [], log: state.log.map((entry) => (entry.kind === "own" && entry.stage && entry.offset < event.first ? unstaged(entry) : entry)) };
    case "quiet":
      return state.typing ? { ...state, typing: false } : state;
    case "forget":
      return { ...START, waiting: state.waiting, ...(event.conversation ? { conversation: event.conversation } : {}) };
    case "restore":
      return { ...START, ...event.state, waiting: state.waiting };
  }
}

function welcomed(state: State, welcome: ServerWelcome): State {
  const { conversation, epoch } = welcome;
  const kept = state.epoch === undefined || lost(state, welcome) === "new_log" ? { ...START, waiting: state.waiting } : state;
  return { ...kept, conversation, epoch, typing: false };
}

const seen = (state: State, offset: number): State => (offset > state.offset ? { ...state, offset } : state);

function message(state: State, event: ServerMessage): State {
  const { id, offset, author, text } = event;
  const picture = pictureOf(event.image_url);
  const at = time(state, event.timestamp);
  if (author === "human") {
    const entry: OtherMessage = { kind: "other", id, author, text, at, offset, ...picture };
    return { ...state, typing: false, log: inserted(state.log, entry) };
  }
  const waiting = state.waiting.find(({ entry }) => entry.id === id);
  if (waiting) return message(acknowledged(state, waiting, offset), event);
  const known = findOwn(state, id) as OwnMessage | undefined;
  // What this page shows already needs no second download; an address from before a reload may have run out.
  const shown = known?.picture?.url.startsWith("blob:") ? { picture: known.picture } : picture;
  const entry: OwnMessage = { ...(known ?? { kind: "own", id }), text, at, state: "sent", offset, ...shown };
  return { ...state, log: inserted(state.log, entry as Logged) };
}

function acknowledged(state: State, { entry }: Waiting, offset: number): State {
  const { progress: _, error: __, ...rest } = entry;
  const sent: OwnMessage = { ...rest, state: "sent", offset };
  return { ...state, log: inserted(state.log, sent as Logged), waiting: state.waiting.filter((other) => other.entry.id !== entry.id) };
}

function progress(state: State, event: ServerProgress): State {
  const own = findOwn(state, event.id) as (OwnMessage & Logged) | undefined;
  if (!own || hasEnded(state, event.id)) return state;
  const { position: _, ...rest } = own;
  const entry: OwnMessage & Logged = { ...rest, stage: event.stage };
  if (typeof event.position === "number") entry.position = event.position;
  return { ...state, log: inserted(state.log, entry) };
}

function piece(state: State, event: ServerDelta | ServerSnapshot): State {
  const told = news(state, event) as ServerDelta | ServerSnapshot | undefined;
  if (!told) return state;
  const { id, attempt, seq } = told;
  const before = state.live.find(({ entry }) => entry.id === id);
  const goesOn = told.type === "delta" && before?.attempt === attempt;
  const text = (goesOn ? before.entry.text + told.text : told.text).slice(0, MAX_TEXT);
  const entry: ReplyEntry = before
    ? { ...before.entry, text }
    : { kind: "reply", id, text, done: false, stopped: false, tags: [], analysis: "", source: "", timing: {}, quickReplies: [], at: latest(state) };
  const live: Live = { entry, attempt, seq };
  return {
    ...state,
    live: before ? state.live.map((other) => (other === before ? live : other)) : [...state.live, live].slice(-MAX_LIVE),
  };
}

function replyEntry(event: ServerReply, state: State): Logged {
  const before = state.log.find((entry) => entry.kind === "reply" && entry.offset === event.offset) as ReplyEntry | undefined;
  return {
    kind: "reply",
    id: event.id,
    text: event.text,
    done: true,
    stopped: event.stopped ?? false,
    ...(event.intent ? { intent: event.intent } : {}),
    ...(event.sentiment ? { sentiment: event.sentiment } : {}),
    tags: event.tags,
    analysis: event.analysis,
    source: event.source,
    timing: event.timing ?? {},
    quickReplies: event.quick_replies ?? [],
    ...pictureOf(event.image_url),
    at: time(state, event.timestamp),
    offset: event.offset,
    ...(before?.rating ? { rating: before.rating } : {}),
  };
}

const errorEntry = (event: ServerError, state: State): ErrorEntry & Logged => ({
  kind: "error",
  id: event.id ?? "",
  code: event.code,
  text: event.message,
  at: time(state, event.timestamp),
  offset: event.offset ?? 0,
});

/** Nothing is being done with it any more. */
function unstaged({ stage: _, position: __, ...entry }: OwnMessage & Logged): Logged {
  return entry;
}

/** The end of message `id`: its answer is in progress no more. */
function ended(state: State, id: string, final: Logged): State {
  // Whoever missed the ack sees it here.
  const waiting = state.waiting.find(({ entry }) => entry.id === id);
  const next = waiting ? acknowledged(state, waiting, final.offset - 0.5) : state;
  const log = next.log.map((entry) => (entry.kind === "own" && entry.id === id && entry.stage ? unstaged(entry) : entry));
  return { ...next, live: next.live.filter(({ entry }) => entry.id !== id), log: inserted(log, final) };
}

function rated(state: State, reply: string, score: number): State {
  const entry = state.log.find((one) => one.kind === "reply" && one.id === reply) as (ReplyEntry & Logged) | undefined;
  if (!entry || entry.rating === score) return state;
  return { ...state, log: inserted(state.log, { ...entry, rating: score }) };
}

const isRated = (state: State, reply: string): boolean => state.log.some((entry) => entry.kind === "reply" && entry.id === reply && !!entry.rating);

function put(state: State, entry: OwnMessage, after: number): State {
  if (findOwn(state, entry.id)) return state;
  const waiting: Waiting = { entry, after };
  const index = state.waiting.findIndex((other) => other.entry.id === entry.id);
  if (index >= 0) return { ...state, waiting: state.waiting.map((other, at) => (at === index ? waiting : other)) };
  const before = state.waiting.filter((other) => other.entry.at <= entry.at);
  return { ...state, waiting: [...before, waiting, ...state.waiting.filter((other) => other.entry.at > entry.at)] };
}

/** `log` with `entry` in its place, instead of what had the same one; an own message also instead of itself. */
function inserted(log: readonly Logged[], entry: Logged): readonly Logged[] {
  const others = log.filter((one) => one.offset !== entry.offset && !(entry.kind === "own" && one.kind === "own" && one.id === entry.id));
  let at = others.length;
  while (at > 0 && (others[at - 1] as Logged).offset > entry.offset) at--;
  others.splice(at, 0, entry);
  return others.slice(-MAX_LOG);
}

function pictureOf(url: string | null | undefined): { picture?: PictureView } {
  return url ? { picture: { url } } : {};
}

/** When the last thing that has a time happened: what has none happens now. */
const latest = (state: State): number => state.log.at(-1)?.at ?? 0;

const time = (state: State, timestamp: string | null | undefined): number => (timestamp && Date.parse(timestamp)) || latest(state);

// --- what is shown -----------------------------------------------------------------------------------------------------

/**
 * The entries in the order in which they are read: the log, failed messages where they were written, then what waits, and
 * answers in progress last, where their offset will put them.
 */
export function entriesOf(state: State): readonly Entry[] {
  const failed = state.waiting.filter(({ entry }) => entry.state === "failed");
  const shown: Entry[] = [];
  let next = 0;
  for (const entry of state.log) {
    while (next < failed.length && (failed[next] as Waiting).after < entry.offset) shown.push((failed[next++] as Waiting).entry);
    // The end of a message that a person will answer has nothing to show.
    if (entry.kind !== "reply" || entry.text || entry.picture) shown.push(entry);
  }
  for (; next < failed.length; next++) shown.push((failed[next] as Waiting).entry);
  for (const { entry } of state.waiting) if (entry.state !== "failed") shown.push(entry);
  for (const { entry } of state.live) shown.push(entry);
  return shown;
}
