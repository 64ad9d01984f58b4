/** What the models made of a message: discreet chips, and on request all of it. */
import type { ReplyEntry } from "../sdk/index.js";
import { el } from "./dom.js";
import { fill, type Tongue } from "./words.js";

/** Below this the tagger is guessing: shown with the details only. */
const SURE = 0.3;
const CHIPS = 4;

type Facts = Pick<ReplyEntry, "intent" | "sentiment" | "tags" | "analysis" | "source" | "timing">;

/** Tags, intent and mood as a list of chips; null where there is none. */
export function chips(reply: Facts, tongue: Tongue): HTMLElement | null {
  const { words } = tongue;
  const chip = (text: string, kind: string, title: string): HTMLElement => el("li", { class: kind, title, dir: "auto" }, text);
  const all = reply.tags
    .filter((tag) => tag.score >= SURE)
    .slice(0, CHIPS)
    .map((tag) => chip(tag.label || tag.name, "tag", `${words.tags}: ${tongue.percent(tag.score)}`));
  if (reply.intent && reply.intent.name !== "out_of_scope") all.push(chip(tongue.intent(reply.intent.name), "intent", `${words.intent}: ${tongue.percent(reply.intent.confidence)}`));
  const mood = reply.sentiment?.label;
  // Most messages are neutral: only a mood is worth a word.
  if (mood && mood !== "neutral" && mood in words) all.push(chip(words[mood], mood, words.sentiment));
  return all.length ? el("ul", { class: "chips", "aria-label": words.understood }, ...all) : null;
}

/** A row of the table of details: a bar where there is a share between 0 and 1. */
function line(name: string, value: string, share?: number): HTMLElement {
  const bar = share === undefined ? null : el("i", { class: "bar", "aria-hidden": "true" }, el("i"));
  const inner = bar?.firstElementChild as HTMLElement | null | undefined;
  inner?.style.setProperty("width", `${Math.round(Math.min(1, Math.max(0, share ?? 0)) * 100)}%`);
  return el("div", {}, el("dt", { dir: "auto" }, name), el("dd", {}, bar, bar ? el("span", {}, value) : value));
}

export function details(reply: Facts, tongue: Tongue): HTMLElement {
  const { words } = tongue;
  const rows: HTMLElement[] = [];
  if (reply.intent) rows.push(line(tongue.intent(reply.intent.name), tongue.percent(reply.intent.confidence), reply.intent.confidence));
  if (reply.sentiment) {
    const { label, score } = reply.sentiment;
    const signed = new Intl.NumberFormat(tongue.tag, { signDisplay: "exceptZero", maximumFractionDigits: 2 }).format(score);
    rows.push(line(words.sentiment, `${label in words ? words[label] : label} ${signed}`));
  }
  for (const tag of reply.tags) rows.push(line(tag.label || tag.name, tongue.percent(tag.score), tag.score));
  if (reply.source) rows.push(line(words.source, reply.source.replaceAll("_", " ")));
  const times = Object.entries(reply.timing).filter(([, ms]) => Number.isFinite(ms));
  const total = reply.timing["total"] ?? Math.max(0, ...times.map(([, ms]) => ms));
  for (const [stage, ms] of times) {
    rows.push(line(`${words.timing} · ${stage.replaceAll("_", " ")}`, fill(words.ms, { n: tongue.number(ms) }), total > 0 ? ms / total : undefined));
  }
  return el(
    "div",
    { class: "details" },
    reply.analysis ? el("p", { dir: "auto" }, reply.analysis) : null,
    rows.length ? el("dl", {}, ...rows) : null,
  );
}
