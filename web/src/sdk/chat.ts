import type { ChatOptions, OutgoingMessage, Snapshot } from "./types.js";

/** One conversation that outlives its connections, and the page. */
export class Chat {
  #snapshot: Snapshot = { entries: [], connection: "closed", state: "bot", typing: false };

  constructor(readonly options: ChatOptions = {}) {}

  get snapshot(): Snapshot {
    return this.#snapshot;
  }
  subscribe(_listener: (snapshot: Snapshot) => void): () => void {
    return () => {};
  }
  start(): void {}
  async close(): Promise<void> {}
  async send(_message: OutgoingMessage): Promise<string> {
    throw new Error("not yet");
  }
  retry(_id: string): void {}
  discard(_id: string): void {}
  cancel(_id: string): void {}
  rate(_replyId: string, _score: 1 | 2 | 3 | 4 | 5, _comment?: string): void {}
  handoff(_reason?: string): void {}
  typing(_on: boolean): void {}
  async reset(): Promise<void> {}
}
