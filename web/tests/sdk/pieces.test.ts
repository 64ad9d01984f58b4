import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/sdk/address.js";
import { Backoff } from "../../src/sdk/backoff.js";
import { Roster } from "../../src/sdk/roster.js";
import { randomId } from "../../src/sdk/tabs.js";
import { claimsOf } from "../../src/sdk/tokens.js";
import { token } from "./fakes.js";

describe("an address", () => {
  it.each([
    ["wss://chat.test/ws", "wss://chat.test/ws", "https://chat.test"],
    ["https://chat.test", "wss://chat.test/ws", "https://chat.test"],
    ["http://user:secret@127.0.0.1:8080/", "ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080"],
    ["127.0.0.1:8080", "ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080"],
    ["ws://chat.test/other?x=1#y", "ws://chat.test/other?x=1", "http://chat.test"],
    ["WSS://[::1]:8443/ws", "wss://[::1]:8443/ws", "https://[::1]:8443"],
  ])("%s", (text, socket, origin) => expect(parseAddress(text)).toEqual({ socket, origin }));
  it.each(["", "://", "ftp://chat.test", "javascript:alert(1)//://x", "ws://"])("%s is none", (text) => expect(parseAddress(text)).toBeUndefined());
});

describe("waiting", () => {
  it("doubles its bound up to half a minute, and draws from all below it", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(40), (random, failures) => {
        const backoff = new Backoff(() => random);
        for (let at = 0; at < failures; at++) backoff.next();
        const bound = Math.min(30_000, 500 * 2 ** failures);
        expect(backoff.next(false)).toBeCloseTo(random * bound);
        expect(backoff.next()).toBeCloseTo(random * bound);
        expect(backoff.spread(2_000)).toBeGreaterThanOrEqual(2_000);
        expect(backoff.spread(2_000)).toBeLessThanOrEqual(4_000);
        backoff.reset();
        expect(backoff.next()).toBeLessThanOrEqual(500);
      }),
    );
  });
});

describe("the roster", () => {
  it("goes round, and says when all have failed", () => {
    const roster = new Roster(["ws://a", "ws://b", "ws://a/ws"]);
    expect(roster.size).toBe(2);
    expect(roster.failed(roster.current)).toBe(false);
    expect(roster.current.socket).toBe("ws://b/ws");
    expect(roster.failed(roster.current)).toBe(true);
    expect(roster.current).toBe(roster.home);
    expect(roster.failed(roster.current)).toBe(false); // a new round
    roster.arrived(roster.home);
    expect(roster.failed(roster.home)).toBe(false);
  });
  it("learns nodes in place of earlier ones, keeps the one in use, and no token leaves TLS", () => {
    const roster = new Roster(["wss://a"]);
    roster.learn(["wss://b/ws", "ws://naked/ws", "nonsense://", "wss://c/ws"]);
    expect(roster.all.map((one) => one.socket)).toEqual(["wss://a/ws", "wss://b/ws", "wss://c/ws"]);
    roster.failed(roster.current);
    roster.learn(["wss://d/ws"]);
    expect(roster.all.map((one) => one.socket)).toEqual(["wss://a/ws", "wss://d/ws", "wss://b/ws"]);
    expect(roster.current.socket).toBe("wss://b/ws");
    roster.learn(Array.from({ length: 100 }, (_, at) => `wss://n${at}/ws`));
    expect(roster.size).toBe(34);
  });
  it("needs an address", () => {
    expect(() => new Roster([])).toThrow(TypeError);
    expect(() => new Roster(["::"])).toThrow("is not the address");
  });
});

describe("ids", () => {
  it("are of the letters that fit everywhere, and never the same", () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => randomId()));
    expect(ids.size).toBe(1_000);
    for (const id of ids) expect(id).toMatch(/^[\w-]{22}$/);
  });
});

describe("what a token says", () => {
  it("is read, and nothing a caller can be hurt with", () => {
    expect(claimsOf(token({ sub: "ann", name: "Анна" }))).toEqual({ sub: "ann", name: "Анна" });
    for (const bad of ["", "x", "a.b.c", "a.bnVsbA.c", "a.%%%.c"]) expect(claimsOf(bad)).toEqual({});
  });
});
