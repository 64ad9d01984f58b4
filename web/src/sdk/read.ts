/** Frames to events. What comes in is what its type says, so that one odd frame spoils nothing that is shown or kept. */
import type { ServerEnvelope } from "./protocol.js";

type Bag = Record<string, unknown>;

/** What an event cannot do without. */
const NEEDED: Readonly<Record<string, string>> = {
  ack: "id offset",
  delta: "id attempt seq text",
  draining: "reconnect_after_ms",
  error: "code message",
  history: "",
  message: "id offset text",
  pong: "",
  progress: "id stage",
  rate: "reply offset score",
  reply: "id offset text",
  snapshot: "id attempt seq text",
  state: "state offset",
  token_expiring: "",
  typing: "",
  welcome: "conversation epoch offset",
};
/** What is left out where it is not what it should be. */
const OPTIONAL = "id offset image_url timestamp analysis source position retry_after".split(" ");
const NUMBERS = "offset attempt seq score confidence reconnect_after_ms position retry_after".split(" ");
const STATES: unknown[] = ["bot", "waiting", "human", "closed"];
/** More than any answer has; what would keep a browser busy for minutes is cut. */
export const MAX_TEXT = 200_000;

/** Undefined: it is no event, or none that is known; a later version of the protocol may say more than we understand. */
export function read(data: unknown): ServerEnvelope | undefined {
  try {
    return typeof data === "string" ? event(JSON.parse(data)) : undefined;
  } catch {
    return undefined;
  }
}

const isBag = (value: unknown): value is Bag => typeof value === "object" && value !== null;
const has = (value: unknown, names: string): value is Bag =>
  isBag(value) && (!names || names.split(" ").every((name) => (NUMBERS.includes(name) ? Number.isFinite(value[name]) : typeof value[name] === "string")));
const list = <T>(value: unknown, fits: (one: unknown) => one is T): T[] => (Array.isArray(value) ? value.filter(fits) : []);
const isText = (value: unknown): value is string => typeof value === "string";

function event(value: unknown): ServerEnvelope | undefined {
  if (!has(value, "type")) return undefined;
  const type = value["type"] as string;
  const needed = Object.hasOwn(NEEDED, type) ? NEEDED[type] : undefined;
  if (needed === undefined || !has(value, needed)) return undefined;
  for (const name of OPTIONAL) if (!has(value, name)) delete value[name];
  if (isText(value["text"])) value["text"] = value["text"].slice(0, MAX_TEXT);
  if (type === "history") value["events"] = list(value["events"], isBag).flatMap((one) => event(one) ?? []);
  else if (type === "state" && !STATES.includes(value["state"])) return undefined;
  else if (type === "welcome") {
    value["nodes"] = list(value["nodes"], isText);
    for (const name of ["limits", "engine"]) if (!isBag(value[name])) value[name] = {};
  } else if (type === "reply") {
    value["tags"] = list(value["tags"], (tag): tag is Bag => has(tag, "name label score"));
    value["quick_replies"] = list(value["quick_replies"], isText);
    value["analysis"] ??= "";
    value["source"] ??= "";
    if (!has(value["intent"], "name confidence")) value["intent"] = null;
    if (!has(value["sentiment"], "label score")) value["sentiment"] = null;
    if (!isBag(value["timing"])) value["timing"] = {};
  }
  return value as unknown as ServerEnvelope;
}
