import type { Tabs } from "./tabs.js";

/** For the first tab to get a conversation, before another tries. */
const FIRST_MS = 20_000;

/** Of several tabs that have no conversation yet, one begins it; the others go there. */
export class First {
  #turn = 0;
  #release: (() => void) | undefined;

  /**
   * Resolves when this tab may go on: there is a conversation, says `found`, or it is the first, until `release`. Who asks
   * again has given up what was asked before.
   */
  ask(tabs: Tabs, scope: string, found: () => Promise<boolean>): Promise<void> {
    this.release();
    const turn = ++this.#turn;
    return new Promise((go) => {
      const work = async (): Promise<void> => {
        if (turn !== this.#turn || (await found())) return go();
        const begun = new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, FIRST_MS);
          this.#release = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        go();
        await begun;
      };
      tabs.alone(`first:${scope}`, work).catch(() => go());
    });
  }

  release(): void {
    this.#release?.();
  }
}
