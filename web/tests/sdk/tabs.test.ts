import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Chat } from "../../src/sdk/chat.js";
import { begin, finish, message, own, pass, type Peer, peer, reply, settle, tab, token, words, world } from "./fakes.js";

beforeEach(begin);
afterEach(finish);

const PNG = Uint8Array.from(Buffer.from("iVBORw0KGgogbm90IHJlYWxseQ==", "base64"));
/** A tab, connected and welcome. */
async function online(welcome: object = {}): Promise<{ chat: Chat; peer: Peer }> {
  const { chat } = tab();
  const one = await peer();
  one.all();
  one.welcome(welcome);
  await settle();
  return { chat, peer: one };
}
/** A page that is gone as pages are: nothing of it runs any more, and the browser gives its locks back. */
function crash(one: Peer): void {
  const mine = world.locks?.names.filter((name) => name.includes(":tab:")) ?? [];
  world.channels.delete([...world.channels][0] as never);
  one.end(1001);
  vi.clearAllTimers();
  world.locks?.release(mine[0] as string);
}

describe("a reload", () => {
  it("loses nothing of what was written: text and picture are sent, once, under their ids", async () => {
    world.network = () => "refuse";
    const before = tab();
    const text = await before.chat.send({ text: "Hi" });
    const picture = await before.chat.send({ text: "see", picture: new Blob([PNG], { type: "image/png" }), original: true });
    await before.chat.close();
    world.peers.length = 0;
    world.network = () => "open";
    const { chat } = tab();
    const one = await peer();
    expect(own(chat)).toMatchObject([{ id: text, text: "Hi", state: "queued" }, { id: picture, text: "see", picture: { url: expect.stringMatching(/^blob:/) } }]);
    one.all();
    one.welcome();
    await settle();
    expect(one.all()).toEqual([{ type: "message", id: text, text: "Hi" }]);
    one.say({ type: "ack", id: text, offset: 1 });
    const [{ binary }] = one.all() as [{ binary: Uint8Array }];
    const end = 4 + new DataView(binary.buffer).getUint32(0);
    expect(JSON.parse(new TextDecoder().decode(binary.subarray(4, end)))).toEqual({ type: "message", id: picture, text: "see" });
    expect(binary.subarray(end)).toEqual(PNG);
    one.say({ type: "ack", id: picture, offset: 2 });
    one.say(reply(text, 3, "re"));
    one.say(reply(picture, 4, "nice"));
    await settle();
    await chat.close();
    const after = tab();
    const two = await peer();
    two.all();
    two.welcome({ offset: 4 });
    two.say({ type: "history", events: [] });
    await pass(500);
    expect(two.all()).toEqual([]);
    expect(words(after.chat)).toEqual(["own: Hi", "own: see", "reply: re", "reply: nice"]);
  });

  it("in the middle of an answer shows what there was at once, asks for the newest page, and goes on", async () => {
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "Hi" });
    one.say({ type: "ack", id, offset: 1 });
    one.say({ type: "delta", id, attempt: 1, seq: 1, text: "On " });
    await pass(500);
    await chat.close();
    const after = tab();
    const two = await peer();
    expect(words(after.chat)).toEqual(["own: Hi"]);
    // Without an offset: addresses of pictures may have run out since.
    expect(two.next()).toEqual({ type: "hello", conversation: "c1" });
    two.welcome({ offset: 1 });
    two.say({ type: "history", events: [message(id, 1, "Hi", "customer", { image_url: "/media/fresh" })] });
    two.say({ type: "snapshot", id, attempt: 1, seq: 2, text: "On its " });
    two.say({ type: "delta", id, attempt: 1, seq: 3, text: "way" });
    await pass(500);
    expect(words(after.chat)).toEqual(["own: Hi", "reply: On its way"]);
    expect(own(after.chat)).toMatchObject([{ picture: { url: "http://one.test/media/fresh" } }]);
    expect(two.all()).toEqual([]); // it was acknowledged
    two.say(reply(id, 2, "On its way."));
    expect(words(after.chat)).toEqual(["own: Hi", "reply: On its way."]);
    expect(after.events.map((event) => event.type)).toEqual(["connected", "delta", "delta", "reply"].with(1, "snapshot"));
  });

  it("after which the log is another one asks again what had no answer", async () => {
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "Hi" });
    one.say({ type: "ack", id, offset: 1 });
    await pass(500);
    await chat.close();
    const after = tab();
    const two = await peer();
    two.all();
    two.welcome({ epoch: "e2" });
    two.say({ type: "history", events: [] });
    await pass(500);
    expect(two.all()).toMatchObject([{ id }]);
    expect(own(after.chat)).toMatchObject([{ id, state: "sending" }]);
  });

  it("forgets what was answered while nobody looked", async () => {
    const { chat, peer: one } = await online();
    const [a, b] = [await chat.send({ text: "a" }), await chat.send({ text: "b" })];
    one.say({ type: "ack", id: a, offset: 1 });
    one.say({ type: "ack", id: b, offset: 2 });
    await settle();
    await chat.close();
    const after = tab();
    const two = await peer();
    two.all();
    two.welcome({ offset: 90 });
    // a was answered long before this page; b in it
    two.say({ type: "history", events: [message(b, 88, "b"), reply(b, 89, "re")] });
    await pass(500);
    await after.chat.close();
    const last = tab();
    const three = await peer();
    three.welcome({ epoch: "lost", offset: 0 });
    await pass(500);
    expect(three.all().filter((frame) => frame.type === "message")).toEqual([]);
    expect(own(last.chat)).toEqual([]);
  });

  it("shows another customer nothing of the one before", async () => {
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "secret" });
    one.say({ type: "ack", id, offset: 1 });
    await chat.send({ text: "waiting" });
    await pass(500);
    await chat.close();
    const other = tab({ token: () => token({ sub: "eve" }) });
    const two = await peer();
    expect(other.chat.snapshot.entries).toEqual([]);
    expect(two.next()).toEqual({ type: "hello" });
    two.welcome({ conversation: "c2" });
    await pass(500);
    expect(two.all()).toEqual([]);
  });

  it("goes on with a conversation that is named", async () => {
    await online();
    tab({ conversation: "mine" });
    expect((await peer()).next()).toEqual({ type: "hello", conversation: "mine" });
  });

  it("keeps failed messages, for another try", async () => {
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "a" });
    one.say({ type: "error", code: "internal", message: "Sorry.", ref: "r", id });
    await settle();
    await chat.close();
    const after = tab();
    const two = await peer();
    two.all();
    two.welcome();
    two.say({ type: "history", events: [] });
    await settle();
    expect(own(after.chat)).toMatchObject([{ id, state: "failed", error: { code: "internal" } }]);
    expect(two.all()).toEqual([]);
    after.chat.retry(id);
    await settle();
    expect(two.all()).toMatchObject([{ id }]);
  });

  it("works, but forgets, where the browser keeps nothing", async () => {
    vi.stubGlobal("indexedDB", undefined);
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "a" });
    expect(one.all()).toMatchObject([{ id }]);
    await chat.close();
    tab();
    expect((await peer()).next()).toEqual({ type: "hello" });
  });

  it("does not wait for a database that never opens, and chats on where one breaks", async () => {
    const silent = {};
    vi.stubGlobal("indexedDB", { open: () => silent });
    tab();
    await settle();
    await pass(3_000);
    expect((await peer()).next()).toEqual({ type: "hello" });
    const broken = { transaction: () => { throw new DOMException("gone", "InvalidStateError"); }, close: () => {} };
    vi.stubGlobal("indexedDB", { open: () => { const request: { result: unknown; onsuccess?: () => void } = { result: broken }; setImmediate(() => request.onsuccess?.()); return request; } });
    const { chat, peer: one } = await online();
    const id = await chat.send({ text: "a" });
    expect(one.all()).toMatchObject([{ id }]);
    await chat.reset();
    expect((await peer()).next()).toEqual({ type: "hello" });
  });
});

describe("two tabs", () => {
  it("are on one conversation, begun by one of them, as one guest", async () => {
    const first = tab({ token: undefined as never });
    const second = tab({ token: undefined as never });
    const one = await peer();
    await pass(1_000);
    expect(world.peers).toEqual([]); // the other waits
    expect(world.guests.length).toBe(1);
    expect(one.next()).toEqual({ type: "hello" });
    one.welcome();
    const two = await peer();
    expect(two.token).toBe(one.token);
    expect(two.next()).toEqual({ type: "hello", conversation: "c1" });
    two.welcome();
    two.say({ type: "history", events: [] });
    await settle();
    expect([first, second].map(({ chat }) => chat.snapshot.conversation)).toEqual(["c1", "c1"]);
  });

  it("do not wait for one that cannot connect", async () => {
    world.network = () => "refuse";
    tab();
    tab();
    const urls = [await peer(), await peer(), await peer()];
    expect(urls.length).toBe(3);
  });

  it("both see what is written, when it is written; one of them sends it", async () => {
    const first = await online();
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    first.peer.all();
    const id = await first.chat.send({ text: "Hi", picture: new Blob([PNG], { type: "image/png" }), original: true });
    await pass(500);
    expect(own(second.chat)).toMatchObject([{ id, text: "Hi", state: "sending", picture: { url: expect.stringMatching(/^blob:/) } }]);
    expect(first.peer.all().length).toBe(1);
    expect(second.peer.all()).toEqual([]);
    second.peer.say(message(id, 1, "Hi"));
    first.peer.say({ type: "ack", id, offset: 1 });
    for (const { peer: each } of [first, second]) {
      each.say({ type: "delta", id, attempt: 1, seq: 1, text: "re" });
      each.say(reply(id, 2, "re."));
    }
    for (const { chat } of [first, second]) expect(words(chat)).toEqual(["own: Hi", "reply: re."]);
    // and one that only the gateway tells of
    second.peer.say(message("elsewhere", 3, "from my phone"));
    expect(own(second.chat).at(-1)).toMatchObject({ id: "elsewhere", state: "sent" });
  });

  it("one takes over what the other had to send when it is gone", async () => {
    const first = await online();
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    first.peer.all();
    const [a, b] = [await first.chat.send({ text: "a" }), await first.chat.send({ text: "b" })];
    await settle();
    expect(first.peer.all()).toMatchObject([{ id: a }]);
    expect(second.peer.all()).toEqual([]);
    crash(first.peer);
    await settle();
    expect(second.peer.all()).toMatchObject([{ id: a }]);
    second.peer.say({ type: "ack", id: a, offset: 1 });
    expect(second.peer.all()).toMatchObject([{ id: b }]);
  });

  it("fail, withdraw and repeat together", async () => {
    const first = await online();
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    const [a, b] = [await first.chat.send({ text: "a" }), await first.chat.send({ text: "b" })];
    first.peer.all();
    first.peer.say({ type: "error", code: "internal", message: "Sorry.", ref: "r", id: a });
    await settle();
    expect(own(second.chat)).toMatchObject([{ id: a, state: "failed" }, { id: b, state: "sending" }]);
    second.chat.retry(a);
    await settle();
    expect(second.peer.all()).toMatchObject([{ id: a }]);
    expect(own(first.chat).find(({ id }) => id === a)).toMatchObject({ state: "sending" });
    expect(first.peer.all().filter(({ id }) => id === a)).toEqual([]);
    first.chat.discard(a);
    await settle();
    for (const { chat } of [first, second]) expect(own(chat).map(({ id }) => id)).toEqual([b]);
  });

  it("start over together", async () => {
    const first = await online();
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    await first.chat.send({ text: "a" });
    await settle();
    await first.chat.reset();
    await settle();
    expect(first.chat.snapshot.entries).toEqual([]);
    const one = await peer();
    expect(one.next()).toEqual({ type: "hello" });
    one.welcome({ conversation: "c2", epoch: "e2" });
    const two = await peer();
    expect(two.next()).toEqual({ type: "hello", conversation: "c2" });
    two.welcome({ conversation: "c2", epoch: "e2" });
    await pass(1_000);
    for (const { chat } of [first, second]) expect(chat.snapshot).toMatchObject({ conversation: "c2", entries: [], connection: "online" });
    expect([one, two].flatMap((each) => each.all())).toEqual([]);
  });

  it("meet again where each found its conversation gone and began another", async () => {
    const first = await online();
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    first.peer.end(1001);
    second.peer.end(1001);
    const [one, two] = [await peer(), await peer()];
    for (const each of [one, two]) {
      each.all();
      each.say({ type: "error", code: "not_found", message: "Nothing.", ref: "r" });
      expect(each.next()).toEqual({ type: "hello" });
    }
    one.welcome({ conversation: "x", epoch: "ex" });
    two.welcome({ conversation: "y", epoch: "ey" });
    await settle();
    const again = await peer();
    expect(again.next()).toEqual({ type: "hello", conversation: "x" });
    again.welcome({ conversation: "x", epoch: "ex" });
    await pass(1_000);
    expect(world.peers).toEqual([]);
    for (const { chat } of [first, second]) expect(chat.snapshot).toMatchObject({ conversation: "x", connection: "online" });
  });

  it("without locks send what a page before left at once: sent twice, it is answered once", async () => {
    world.locks = undefined;
    const first = await online();
    const id = await first.chat.send({ text: "a" });
    const second = await online();
    second.peer.say({ type: "history", events: [] });
    await settle();
    expect(second.peer.all()).toMatchObject([{ id }]);
    second.peer.say({ type: "error", code: "internal", message: "Sorry.", ref: "r", id });
    await settle();
    for (const { chat } of [first, second]) expect(own(chat)).toMatchObject([{ id, state: "failed" }]);
    expect([first, second].flatMap((each) => each.peer.all().filter((frame) => frame.type === "message")).length).toBeLessThanOrEqual(1);
  });
});
