import { IDBDatabase } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { compressPicture, UnsupportedPicture } from "../../src/sdk/picture.js";
import { MAX_LOG } from "../../src/sdk/state.js";
import { begin, connected, finish, message, own, pass, type Peer, peer, replies, reply, settle, tab, TIME, token, words, world } from "./fakes.js";

beforeEach(begin);
afterEach(finish);

const PNG = Uint8Array.from(Buffer.from("iVBORw0KGgogbm90IHJlYWxseQ==", "base64"));
const picture = (): Blob => new Blob([PNG], { type: "image/png" });
async function welcome(one: Peer, more: object = {}): Promise<Peer> {
  one.all();
  one.welcome(more);
  await settle();
  return one;
}

describe("closing", () => {
  it("and beginning again at once leaves a chat that is there", async () => {
    const { chat } = tab();
    await welcome(await peer());
    const closed = chat.close();
    expect(chat.snapshot.connection).toBe("closed");
    chat.start();
    await welcome(await peer());
    await closed;
    expect(chat.snapshot.connection).toBe("online");
  });

  it("loses nothing of what is on its way into the outbox", async () => {
    const { chat } = tab();
    await welcome(await peer());
    const sent = chat.send({ text: "see", picture: picture(), original: true });
    await Promise.resolve();
    await chat.close();
    const id = await sent;
    chat.start();
    const two = await welcome(await peer());
    await pass(400);
    expect(two.all().length).toBe(1);
    expect(own(chat)).toMatchObject([{ id, state: "sending", picture: { url: expect.stringMatching(/^blob:/) } }]);
  });

  it("keeps what waits where the browser is to keep nothing", async () => {
    world.network = () => "refuse";
    const { chat } = tab({ storage: null });
    const id = await chat.send({ text: "a" });
    await chat.close();
    world.network = () => "open";
    world.peers.length = 0;
    chat.start();
    const one = await welcome(await peer());
    expect(one.all()).toMatchObject([{ id }]);
  });

  it("leaves no address of a picture that is gone", async () => {
    const { chat, peer: one } = await connected();
    const id = await chat.send({ picture: picture(), original: true });
    one.say({ type: "ack", id, offset: 1 });
    expect(own(chat)[0]?.picture?.url).toMatch(/^blob:/);
    await chat.close();
    expect(own(chat)[0]?.picture).toBeUndefined();
    chat.start();
    const two = await welcome(await peer(), { offset: 1 });
    two.say({ type: "history", events: [message(id, 1, "", "customer", { image_url: "/media/x" })] });
    expect(own(chat)[0]?.picture?.url).toBe("http://one.test/media/x");
  });

  it("ends a wait for a token, and holds nothing afterwards", async () => {
    const { chat } = tab({ token: () => Promise.reject(new Error("not yet")) }, { random: () => 0.9 });
    await settle();
    expect(chat.snapshot.connection).toBe("waiting");
    await chat.close();
    await settle();
    expect(world.channels.size).toBe(0);
    expect(world.locks?.names).toEqual([]);
  });
});

describe("somebody else who signs in", () => {
  it("sees nothing of the one before, and sends nothing in their name", async () => {
    let who = "ann";
    const { chat } = tab({ token: () => token({ sub: who }) });
    const one = await welcome(await peer());
    one.say(message("h", 1, "Hello Ann", "human"));
    await chat.send({ text: "mine" });
    who = "bob";
    one.end(4501);
    await pass(1_000);
    expect(world.peers).toEqual([]);
    expect(chat.snapshot).toMatchObject({ connection: "refused", problem: { code: "no_token", text: "Somebody else has signed in." } });
    chat.start();
    const two = await peer();
    expect(two.token).toBe(token({ sub: "bob" }));
    expect(two.next()).toEqual({ type: "hello" });
    two.welcome({ conversation: "c2" });
    await pass(1_000);
    expect(two.all()).toEqual([]);
    expect(words(chat)).toEqual([]);
  });
});

describe("a token that cannot be had", () => {
  it("is asked for at once when the person wants it", async () => {
    let there = false;
    const { chat } = tab({ storage: null, token: () => (there ? token({ sub: "ann" }) : Promise.reject(new Error("not yet"))) }, { random: () => 0.99 });
    await settle();
    expect(chat.snapshot.connection).toBe("waiting");
    there = true;
    chat.start();
    await peer(0);
  });
});

describe("pictures", () => {
  it("that the conversation does not hold any more are freed", async () => {
    const freed = vi.spyOn(URL, "revokeObjectURL");
    const { chat, peer: one } = await connected();
    for (let offset = 1; offset <= 20; offset++) {
      const id = await chat.send({ picture: picture(), original: true });
      one.say({ type: "ack", id, offset });
      one.say(reply(id, offset + 0.5, "nice"));
    }
    expect(freed).not.toHaveBeenCalled();
    for (let offset = 21; offset <= 20 + MAX_LOG - 20; offset++) one.say(message(`h${offset}`, offset, "x", "human"));
    expect(freed.mock.calls.length).toBeGreaterThan(4);
    const shown = new Set(own(chat).map((entry) => entry.picture?.url));
    for (const [url] of freed.mock.calls) expect(shown).not.toContain(url);
  });

  it("that are no photos by their size are not even read", async () => {
    const huge = { size: 2 ** 31, type: "image/jpeg", arrayBuffer: vi.fn() };
    await expect(compressPicture(huge as unknown as Blob)).rejects.toThrow(UnsupportedPicture);
    expect(huge.arrayBuffer).not.toHaveBeenCalled();
  });
});

describe("a page that comes instead of what was missed", () => {
  it("ends what was in progress before it, which nobody will end otherwise", async () => {
    const { chat, peer: one } = await connected();
    const id = await chat.send({ text: "a" });
    one.say({ type: "ack", id, offset: 1 });
    one.say({ type: "progress", id, stage: "answering" });
    one.say({ type: "delta", id, attempt: 1, seq: 1, text: "On its" });
    one.end(1006);
    const two = await welcome(await peer(), { offset: 300 });
    two.say({ type: "history", events: [message("b", 299, "later"), reply("b", 300, "yes")] });
    expect(replies(chat).map(({ text, done }) => [text, done])).toEqual([["yes", true]]);
    expect(own(chat)[0]).not.toHaveProperty("stage");
    two.say({ type: "snapshot", id: "c", attempt: 1, seq: 3, text: "Going on" });
    expect(replies(chat).at(-1)).toMatchObject({ text: "Going on", done: false });
  });
});

describe("stopping", () => {
  it("holds for a message that had to be sent again", async () => {
    const { chat, peer: one } = await connected();
    const id = await chat.send({ text: "a" });
    chat.cancel(id);
    await settle();
    expect(one.all()).toEqual([{ type: "message", id, text: "a" }, { type: "cancel", id }]);
    one.end(1006);
    const two = await welcome(await peer());
    two.say({ type: "history", events: [] });
    expect(two.all()).toEqual([{ type: "message", id, text: "a" }]);
    two.say({ type: "ack", id, offset: 1 });
    expect(two.all()).toEqual([{ type: "cancel", id }]);
  });
});

describe("a clock that is set back", () => {
  it("delays no message for longer than was asked for", async () => {
    const { chat, peer: one } = await connected();
    one.alive = true;
    const id = await chat.send({ text: "a" });
    one.all();
    one.say({ type: "error", code: "overloaded", message: "Busy.", ref: "r", id, retry_after: 2 });
    vi.setSystemTime(new Date(TIME).getTime() - 86_400_000);
    one.say({ type: "ack", id: "other", offset: 1 });
    chat.discard("nobody"); // which looks what can be sent
    await pass(2_500);
    expect(one.all()).toMatchObject([{ id }]);
  });
});

describe("a first conversation", () => {
  it("is not waited for longer because a tab was woken while it waited for another", async () => {
    world.network = () => "silent";
    tab();
    const one = await peer();
    const second = tab();
    await settle();
    for (let time = 0; time < 3; time++) {
      (window as unknown as EventTarget).dispatchEvent(new Event("online"));
      await settle();
    }
    expect(world.peers).toEqual([]);
    world.network = () => "open";
    one.end(1006);
    await welcome(await peer(500));
    expect(second.chat.snapshot.connection).toBe("online");
  });
});

describe("a database", () => {
  it("that stops answering keeps no message from going, and no chat from closing", async () => {
    const { chat } = tab();
    const one = await welcome(await peer());
    vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementation(() => ({ objectStore: () => ({ put: () => ({}), get: () => ({}), getAll: () => ({}), delete: () => ({}) }) }) as never);
    void chat.send({ text: "a" });
    await pass(3_100);
    expect(one.all()).toMatchObject([{ text: "a" }]);
    const closing = chat.close();
    await pass(3_100);
    await closing;
  });
});
