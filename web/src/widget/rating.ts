/** Five stars for a reply, and a word about it if one likes. */
import { el, icon, put } from "./dom.js";
import { fill, type Words } from "./words.js";

export type Score = 1 | 2 | 3 | 4 | 5;
const SCORES: readonly Score[] = [1, 2, 3, 4, 5];

export interface Rating {
  node: HTMLElement;
  /** The score so far, 0 for none; whether it is offered to those who gave none. */
  update(score: number, offered: boolean): void;
}

export function createRating(words: Words, rate: (score: Score, comment?: string) => void, handoff: () => void): Rating {
  let score = 0;
  let editing = false;
  let thanked = false;
  const question = el("span", { class: "ask" }, words.rate);
  const stars = SCORES.map((value) =>
    el(
      "button",
      { type: "button", class: "star", "aria-label": fill(words.stars, { n: value }), title: fill(words.stars, { n: value }), onclick: () => give(value) },
      icon("star"),
    ),
  );
  const row = el("div", { class: "stars", role: "group", "aria-label": words.rate }, question, ...stars);
  const more = el("div", { class: "comment", hidden: true });
  const node = el("div", { class: "rating", hidden: true }, row, more);

  function paint(): void {
    stars.forEach((star, index) => {
      star.classList.toggle("on", index < score);
      star.setAttribute("aria-pressed", String(index + 1 === score));
    });
    node.classList.toggle("given", score > 0);
    question.textContent = score > 0 ? words.rated : words.rate;
    question.hidden = score > 0 && !thanked;
  }

  function give(value: Score): void {
    score = value;
    editing = thanked = true;
    paint();
    rate(value);
    const label = value >= 4 ? words.commentGood : words.comment;
    const field = el("input", { type: "text", maxlength: "500", placeholder: label, "aria-label": label, dir: "auto", enterkeyhint: "send" });
    const done = (): void => {
      editing = false;
      more.hidden = true;
    };
    const form = el("form", {}, field, el("button", { type: "submit", class: "quiet" }, words.sendComment));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) rate(value, field.value.trim());
      done();
      stars[value - 1]?.focus();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      done();
      stars[value - 1]?.focus();
    });
    const person = value <= 2 ? el("button", { type: "button", class: "chip", onclick: () => (done(), handoff()) }, icon("person"), words.handoff) : null;
    put(more, form, person);
    more.hidden = false;
  }

  return {
    node,
    update(given, offered) {
      if (given) score = given;
      // What somebody is writing stays, whatever comes in meanwhile.
      node.hidden = !(offered || score > 0 || editing);
      paint();
    },
  };
}
