/** What is wrong with the connection, over the log so that nothing moves, and only once it lasts. */
import type { Snapshot } from "../sdk/index.js";
import { el, icon } from "./dom.js";
import { fill, type Tongue } from "./words.js";

/** A connection that is back sooner is nobody's concern. */
const PATIENCE_MS = 700;

export interface Banner {
  node: HTMLElement;
  update(snapshot: Snapshot): void;
  dispose(): void;
}

export function createBanner(tongue: Tongue, again: () => void): Banner {
  const { words } = tongue;
  const said = el("span", { class: "hush", role: "status" });
  const seen = el("span", { "aria-hidden": "true", dir: "auto" });
  const button = el("button", { type: "button", class: "quiet", onclick: again }, words.again);
  const node = el("div", { class: "banner", hidden: true }, icon("warn"), said, seen, button);
  let current: Snapshot | undefined;
  let shown = false;
  let patience: ReturnType<typeof setTimeout> | undefined;
  let ticking: ReturnType<typeof setInterval> | undefined;

  function draw(): void {
    if (!current) return;
    const { connection, retryAt, problem } = current;
    node.hidden = !shown;
    node.dataset["kind"] = connection;
    const seconds = retryAt === undefined ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
    const quiet =
      connection === "offline" ? words.offline
      : connection === "refused" ? (problem ? tongue.failure(problem) : words.refused)
      : words.lostNow;
    seen.textContent = connection === "waiting" && seconds > 0 ? fill(words.lost, { n: seconds }) : quiet;
    // Counting down aloud would help nobody.
    const text = shown ? quiet : "";
    if (said.textContent !== text) said.textContent = text;
    button.hidden = connection === "connecting" || connection === "offline";
  }

  function update(snapshot: Snapshot): void {
    current = snapshot;
    const wrong = ["waiting", "offline", "refused"].includes(snapshot.connection);
    clearInterval(ticking);
    if (!wrong && snapshot.connection !== "connecting") {
      clearTimeout(patience);
      patience = undefined;
      shown = false;
    } else if (snapshot.connection === "refused") shown = true;
    else if (wrong) {
      patience ??= setTimeout(() => {
        shown = true;
        draw();
      }, PATIENCE_MS);
      if (snapshot.connection === "waiting") ticking = setInterval(draw, 1000);
    }
    draw();
  }
  return {
    node,
    update,
    dispose() {
      clearTimeout(patience);
      clearInterval(ticking);
    },
  };
}
