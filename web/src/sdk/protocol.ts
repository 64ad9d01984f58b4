// Made by scripts/types.mjs from docs/protocol; `npm run types` makes it again.

export const SUBPROTOCOL = "csgate.v1";

export interface Intent {
  name: string;
  confidence: number;
}

/** `score` is in [-1, 1]: P(positive) - P(negative). */
export interface Sentiment {
  label: "negative" | "neutral" | "positive";
  score: number;
}

/** What a picture shows: stable `name`, `label` in the language of the message, `score` in [0, 1]. */
export interface Tag {
  name: string;
  label: string;
  score: number;
}

/** Stop answering message `id`. */
export interface ClientCancel {
  type: "cancel";
  id: string;
}

/** Asks for a person. */
export interface ClientHandoff {
  type: "handoff";
  reason?: string | null;
}

/** The first frame under `csgate.v1`: opens a conversation, or resumes one after the last `offset` seen. */
export interface ClientHello {
  type: "hello";
  token?: string | null;
  conversation?: string | null;
  epoch?: string | null;
  offset?: number | null;
  locale?: string | null;
}

/**
 * `csgate.v1`: `text`, a picture (`image` or `upload`), or both.
 *
 * Stands for the decoder's fields, whose `Raw` has no schema.
 */
export interface ClientMessage {
  type?: "message";
  id: string;
  text?: string | null;
  /** The picture in Base64 (RFC 4648), or as a data: URL. */
  image?: string | null;
  /** Instead of `image`, never beside it: the name that an upload was given. */
  upload?: string | null;
}

/** Echoed as `pong`: browsers cannot send the protocol's own pings. */
export interface ClientPing {
  type: "ping";
  t: number | string;
}

/** How content the customer is, 1 (not at all) to 5, with the `reply` to the message of that id. */
export interface ClientRate {
  type: "rate";
  reply: string;
  score: number;
  comment?: string | null;
}

/** A new token for the same person, before the old one runs out. */
export interface ClientRefresh {
  type: "refresh";
  token: string;
}

/** Simple mode: `text`, a picture (`image` or `upload`), or both. */
export interface ClientSimpleMessage {
  type?: "message";
  text?: string | null;
  /** The picture in Base64 (RFC 4648), or as a data: URL. */
  image?: string | null;
  /** Instead of `image`, never beside it: the name that an upload was given. */
  upload?: string | null;
}

export interface ClientTyping {
  type: "typing";
  on: boolean;
}

export interface ServerAck {
  type: "ack";
  id: string;
  offset: number;
}

export interface ServerDelta {
  type: "delta";
  id: string;
  attempt: number;
  seq: number;
  text: string;
}

/** The node goes away; reconnect after this long, with jitter. */
export interface ServerDraining {
  type: "draining";
  reconnect_after_ms: number;
}

/** A final error in the log (`offset` > 0, `id` set) or a passing one on a connection (`offset` 0). */
export interface ServerError {
  type: "error";
  code: string;
  message: string;
  ref: string;
  id?: string | null;
  offset?: number;
  retry_after?: number | null;
  max_bytes?: number | null;
  timestamp?: string | null;
}

/** What the client missed, or the last page where `welcome.recovered` is false. */
export interface ServerHistory {
  type: "history";
  events: (ServerMessage | ServerReply | ServerError | ServerState | ServerRate)[];
}

export interface ServerMessage {
  type: "message";
  id: string;
  offset: number;
  author: "customer" | "human";
  text: string;
  timestamp: string;
  image_url?: string | null;
}

export interface ServerPong {
  type: "pong";
  t: number | string;
}

export interface ServerProgress {
  type: "progress";
  id: string;
  stage: "answering" | "queued" | "understanding";
  position?: number | null;
  eta_ms?: number | null;
}

export interface ServerRate {
  type: "rate";
  reply: string;
  score: number;
  offset: number;
  timestamp: string;
  comment?: string | null;
}

/**
 * The final answer to message `id`. `timing` is milliseconds by stage.
 *
 * Only `image_url` and `stopped` may be left out of the JSON. The other defaults are made by a factory, which
 * `omit_defaults` takes for a value worth telling.
 */
export interface ServerReply {
  type: "reply";
  id: string;
  offset: number;
  text: string;
  intent: Intent | null;
  sentiment: Sentiment | null;
  tags: Tag[];
  analysis: string;
  source: string;
  timestamp: string;
  timing?: Record<string, number>;
  quick_replies?: string[];
  format?: "markdown";
  image_url?: string | null;
  stopped?: boolean;
}

/** The answer so far, after a resume; deltas with `seq` at or below its own are to be dropped. */
export interface ServerSnapshot {
  type: "snapshot";
  id: string;
  attempt: number;
  seq: number;
  text: string;
}

export interface ServerState {
  type: "state";
  state: "bot" | "closed" | "human" | "waiting";
  offset: number;
  timestamp: string;
}

/** The token runs out in so many `seconds`; relative, because clocks differ. */
export interface ServerTokenExpiring {
  type: "token_expiring";
  seconds: number;
}

export interface ServerTyping {
  type: "typing";
  on: boolean;
  author?: "customer" | "human";
}

/**
 * The answer to `hello`.
 *
 * `limits` are the bounds that a client should know before it meets them (bytes, characters, pixels by name);
 * `engine` says which provider runs and which models; `nodes` are addresses to fail over to.
 */
export interface ServerWelcome {
  type: "welcome";
  conversation: string;
  epoch: string;
  offset: number;
  recovered: boolean;
  limits: Record<string, number>;
  engine: Record<string, unknown>;
  nodes?: string[];
}

export type ClientEnvelope =
  | ClientCancel
  | ClientHandoff
  | ClientHello
  | ClientMessage
  | ClientPing
  | ClientRate
  | ClientRefresh
  | ClientTyping;

export type ServerEnvelope =
  | ServerAck
  | ServerDelta
  | ServerDraining
  | ServerError
  | ServerHistory
  | ServerMessage
  | ServerPong
  | ServerProgress
  | ServerRate
  | ServerReply
  | ServerSnapshot
  | ServerState
  | ServerTokenExpiring
  | ServerTyping
  | ServerWelcome;
