/** What the SDK's door speaks: options, what can be seen of a conversation, and why something failed. */

/** How a {@link Chat} is set up; everything has a default. */
export interface ChatOptions {
  /** Addresses of the gateway, `wss://host/ws`, the preferred one first. Default: where the script came from. More are learned from it. */
  urls?: readonly string[];
  /** Gives a token; asked again when one ends. Default: a guest's, from `POST /v1/guest`, kept and renewed. */
  token?: () => Promise<string> | string;
  /** Language tag, such as `en` or `zh-CN`, for what the gateway says where a message does not tell its language. */
  locale?: string;
  /** A conversation to go on with. Default: the one that the browser remembers, or a new one. */
  conversation?: string;
  /** Name of the IndexedDB database and of the channel between tabs; null keeps everything in memory. Default `csgate`. */
  storage?: string | null;
}

/**
 * `connecting`: on the way. `online`: there is one. `waiting`: the next try is at `retryAt`. `offline`: the device has no
 * network. `refused`: the gateway does not want this client; see `problem`. `closed`: by `close()`, or not started.
 */
export type Connection = "connecting" | "online" | "waiting" | "offline" | "refused" | "closed";

/** Who answers. */
export type ConversationState = "bot" | "waiting" | "human" | "closed";

/** Why something did not work. `code` is one of the protocol's, or `network`, `storage`, `no_token`; `text` may be shown. */
export interface Failure {
  code: string;
  text: string;
  /** Seconds after which it may work. */
  retryAfter?: number;
  /** Whether the same again may work. */
  retryable: boolean;
}

/** A picture: an object URL while it is on its way, an address of the gateway's afterwards. */
export interface PictureView {
  url: string;
  width?: number;
  height?: number;
}

/** A message of the customer's. */
export interface OwnMessage {
  kind: "own";
  id: string;
  text: string;
  picture?: PictureView;
  /** Milliseconds since 1970. */
  at: number;
  state: "queued" | "uploading" | "sending" | "sent" | "failed";
  /** Of the upload, 0 to 1. */
  progress?: number;
  error?: Failure;
  /** What the gateway is doing with it. */
  stage?: "queued" | "understanding" | "answering";
  /** How many are before it. */
  position?: number;
  offset?: number;
}

/** An answer, in progress or done. `id` is that of the message that it answers. */
export interface ReplyEntry {
  kind: "reply";
  id: string;
  /** Markdown. */
  text: string;
  done: boolean;
  stopped: boolean;
  intent?: { name: string; confidence: number };
  sentiment?: { label: "negative" | "neutral" | "positive"; score: number };
  tags: readonly { name: string; label: string; score: number }[];
  analysis: string;
  source: string;
  /** Milliseconds by stage. */
  timing: Readonly<Record<string, number>>;
  quickReplies: readonly string[];
  picture?: PictureView;
  at: number;
  offset?: number;
  /** 1 to 5. */
  rating?: number;
}

/** A message of somebody else's: a person of the shop. */
export interface OtherMessage {
  kind: "other";
  id: string;
  author: "customer" | "human";
  text: string;
  picture?: PictureView;
  at: number;
  offset: number;
}

/** The error that ended the message `id`. */
export interface ErrorEntry {
  kind: "error";
  id: string;
  code: string;
  text: string;
  at: number;
  offset?: number;
}

/** From here on somebody else answers. */
export interface StateEntry {
  kind: "state";
  state: ConversationState;
  at: number;
  offset: number;
}

export type Entry = OwnMessage | ReplyEntry | OtherMessage | ErrorEntry | StateEntry;

/** All there is to see; never changed, a new one takes its place. Entries that did not change stay the same objects. */
export interface Snapshot {
  entries: readonly Entry[];
  connection: Connection;
  /** Milliseconds since 1970, while `waiting` or `offline`. */
  retryAt?: number;
  state: ConversationState;
  /** A person of the shop is typing. */
  typing: boolean;
  conversation?: string;
  /** Which provider and models answer. */
  engine?: Readonly<Record<string, unknown>>;
  /** Why there is no connection, where that will not mend itself. */
  problem?: Failure;
}

/** What is sent. `original`: the picture as it is, whatever its size. */
export interface OutgoingMessage {
  text?: string;
  picture?: Blob;
  original?: boolean;
}
