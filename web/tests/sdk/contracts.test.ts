import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Chat } from "../../src/sdk/chat.js";
import { type Exchange, type Json, load, names, Values } from "./exchange.js";
import { begin, finish, type Peer, settle, type Tab, tab, token, world } from "./fakes.js";

type Step = Record<string, any>;

/** Plays the server's side of a recorded exchange, and the program that uses the client. */
class Player {
  readonly #values = new Values();
  readonly #named = new Map<string, Peer>();
  #tokens = 0;

  constructor(readonly exchange: Exchange) {}

  async play(): Promise<void> {
    const { locale, renews } = this.exchange.given.client ?? {};
    const one = tab({
      storage: null,
      token: () => token({ sub: "ann", n: renews ? ++this.#tokens : 0 }),
      ...(locale ? { locale } : {}),
    });
    for (const [number, step] of this.exchange.steps.entries()) {
      try {
        for (let times = 0; times < ((step as Step).times ?? 1); times++) await this.#step(step, one);
      } catch (error) {
        throw new Error(`step ${number} ${JSON.stringify(step).slice(0, 300)}: ${String(error)}; events: ${JSON.stringify(one.events)}`);
      }
      await settle();
    }
    if (this.exchange.events) this.#values.check(this.exchange.events, one.events, "events");
    for (const [name, peer] of this.#named) expect(peer.all(), `said beyond what is recorded on ${name}`).toEqual([]);
    expect(world.peers, "connections beyond what is recorded").toEqual([]);
  }

  async #step(step: Step, { chat }: Tab): Promise<void> {
    if (step.do) return this.#do(step.do, chat);
    if (step.wait) {
      await vi.advanceTimersByTimeAsync(step.wait * 1000);
      return;
    }
    if (step.act) return;
    const name: string = step.on ?? "a";
    const peer = await this.#peer(name);
    if (step.sent?.type === "ping") {
      this.#values.check(step.sent, JSON.parse(await this.#frame(() => peer.sent.shift() as string | undefined)));
    } else if (step.sent) {
      this.#values.check(step.sent, await this.#frame(() => peer.next()));
    } else if (step.sent_binary) {
      const { binary } = (await this.#frame(() => peer.next())) as { binary: Uint8Array };
      expect(binary).toBeInstanceOf(Uint8Array);
      const end = 4 + new DataView(binary.buffer).getUint32(0);
      const parts = { header: JSON.parse(new TextDecoder().decode(binary.subarray(4, end))), picture: Buffer.from(binary.subarray(end)).toString("base64") };
      this.#values.check(step.sent_binary, parts);
    } else if (step.expected) {
      peer.say(this.#values.play(step.expected) as object);
    } else if (step.closed || step.drop) {
      this.#named.delete(name);
      peer.end(step.closed ?? 1006);
    } else if (!step.open) throw new Error("no client is told this");
  }

  async #do(act: Step, chat: Chat): Promise<void> {
    if (act.send) {
      const { text, picture } = this.#values.play({ ...act.send, id: null }) as { text?: string; picture?: string };
      await chat.send({ ...(text ? { text } : {}), ...(picture ? { picture: new Blob([Buffer.from(picture, "base64")]), original: true } : {}) });
    } else if (act.cancel) chat.cancel(this.#values.play(act.cancel as Json) as string);
    else if (act.rate) {
      const { reply, score, comment } = this.#values.play(act.rate) as { reply: string; score: 1; comment?: string };
      chat.rate(reply, score, comment);
    } else if ("handoff" in act) chat.handoff(act.handoff ?? undefined);
    else if ("typing" in act) chat.typing(act.typing);
    else throw new Error("no program can do this");
    await settle();
  }

  async #peer(name: string): Promise<Peer> {
    const known = this.#named.get(name);
    if (known) return known;
    const peer = await this.#frame(() => world.peers.shift());
    this.#named.set(name, peer);
    await settle();
    return peer;
  }

  /** What comes next, however long it takes on a clock that only tests wait for. */
  async #frame<T>(take: () => T | undefined): Promise<T> {
    for (let tries = 0; tries < 200; tries++) {
      await settle();
      const found = take();
      if (found !== undefined) return found;
      await vi.advanceTimersToNextTimerAsync();
    }
    throw new Error("nothing comes");
  }
}

describe("recorded exchanges", () => {
  beforeEach(begin);
  afterEach(finish);

  it("are there", () => expect(names.length).toBeGreaterThan(30));
  it.each(names)("%s", async (name) => {
    await new Player(load(name)).play();
  });
});
