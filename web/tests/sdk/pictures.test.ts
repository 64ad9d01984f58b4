import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { compressPicture, UnsupportedPicture } from "../../src/sdk/picture.js";
import { sniff } from "../../src/sdk/sniff.js";
import { begin, connected, finish, NUMBERS, own, pass, settle, tab, token } from "./fakes.js";

// --- files, as far as anybody looks at them ------------------------------------------------------------------------------

const bytes = (...parts: (number | string | number[])[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...Buffer.from(part, "latin1")] : part)));
const be = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const le3 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255];

const jpeg = (width: number, height: number, size = 0): Uint8Array<ArrayBuffer> =>
  bytes([0xff, 0xd8, 0xff, 0xe1, 0, 8], "Exif\0\0", [0xff, 0xff, 0xc4, 0, 4, 1, 1, 0xff, 0xc2, 0, 11, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0], Array(size).fill(7));
const chunk = (name: string, body: number[]): number[] => [...be(body.length), ...Buffer.from(name), ...body, 0, 0, 0, 0];
const png = (width: number, height: number, colour: number, more: string[] = [], size = 0): Uint8Array<ArrayBuffer> =>
  bytes("\x89PNG\r\n\x1a\n", chunk("IHDR", [...be(width), ...be(height), 8, colour, 0, 0, 0]), more.flatMap((name) => chunk(name, [1, 2])), chunk("IDAT", Array(size).fill(7)), chunk("IEND", []));
const webp = (kind: string, body: number[], size = 0): Uint8Array<ArrayBuffer> => bytes("RIFF", [0, 0, 0, 0], "WEBP", kind, [10, 0, 0, 0], body, Array(16 + size).fill(0));
const frame = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0x80, ...Array(6).fill(0), 2, 2, 1, 1, 0];
const gif = (frames: number, alpha = 0, size = 0): Uint8Array<ArrayBuffer> =>
  bytes("GIF89a", [3, 0, 2, 0, 0x80, 0, 0], Array(6).fill(0), [0x21, 0xfe, 1, 65, 0], Array(frames).fill([0x21, 0xf9, 4, alpha, 0, 0, 0, 0, ...frame]).flat(), [0x3b], Array(size).fill(0));

describe("what a file is", () => {
  it.each([
    ["JPEG", jpeg(4000, 3000), { kind: "jpeg", width: 4000, height: 3000, alpha: false, animated: false }],
    ["PNG", png(640, 480, 2), { kind: "png", width: 640, height: 480, alpha: false, animated: false }],
    ["PNG with alpha", png(64, 48, 6), { kind: "png", alpha: true }],
    ["PNG with a transparent colour", png(64, 48, 3, ["tRNS"]), { alpha: true }],
    ["APNG", png(64, 48, 2, ["acTL"]), { animated: true }],
    ["GIF", gif(1), { kind: "gif", width: 3, height: 2, alpha: false, animated: false }],
    ["GIF with alpha", gif(1, 1), { alpha: true, animated: false }],
    ["animated GIF", gif(2), { animated: true }],
    ["WebP", webp("VP8 ", [0, 0, 0, 0x9d, 1, 0x2a, 0x20, 3, 0x58, 2]), { kind: "webp", width: 800, height: 600, alpha: false }],
    ["lossless WebP with alpha", webp("VP8L", [0x2f, 0x1f, 0xc3, 0x95, 0x10]), { width: 800, height: 600, alpha: true }],
    ["animated WebP", webp("VP8X", [0x12, 0, 0, 0, ...le3(799), ...le3(599)]), { width: 800, height: 600, alpha: true, animated: true }],
  ])("%s", (_, file, seen) => expect(sniff(file)).toMatchObject(seen));

  it("is nothing for anything else, and never an accident", () => {
    for (const text of ["", "x", "<svg>", "GIF89a", "\x89PNG\r\n\x1a\n", "RIFF....WEBPVP8X", "\0\0\0\x18ftypheic"]) expect(sniff(bytes(text))).toBeUndefined();
    for (const whole of [jpeg(40, 30, 50), png(4, 4, 6, ["acTL", "tRNS"]), gif(3, 1), webp("VP8X", [2, 0, 0, 0, 1, 1, 1, 1, 1, 1])]) {
      for (let length = 0; length <= whole.length; length++) sniff(whole.subarray(0, length));
      for (let at = 0; at < whole.length; at++) for (const value of [0, 1, 255]) sniff(whole.map((byte, place) => (place === at ? value : byte)));
    }
  });
});

// --- a browser that draws nothing, and says what it was asked ---------------------------------------------------------------

interface Drawn {
  canvases: [number, number][];
  qualities: number[];
  options: unknown[];
}
function browser({ width = 4000, height = 3000, transparent = false, encoded = (quality: number): number => Math.round(quality * 200_000), opens = true } = {}): Drawn {
  const drawn: Drawn = { canvases: [], qualities: [], options: [] };
  vi.stubGlobal("createImageBitmap", async (_: Blob, options: unknown) => {
    drawn.options.push(options);
    if (!opens) throw new DOMException("cannot be decoded", "InvalidStateError");
    return { width, height, close: () => {} };
  });
  vi.stubGlobal(
    "OffscreenCanvas",
    class {
      constructor(readonly width: number, readonly height: number) {
        drawn.canvases.push([width, height]);
      }
      getContext(): unknown {
        return { drawImage: () => {}, fillRect: () => {}, getImageData: (_x: number, _y: number, w: number, h: number) => ({ data: new Uint8Array(w * h * 4).fill(transparent ? 0 : 255) }) };
      }
      async convertToBlob({ type, quality }: { type: string; quality: number }): Promise<Blob> {
        drawn.qualities.push(quality);
        return new Blob([new Uint8Array(encoded(quality))], { type });
      }
    },
  );
  return drawn;
}
const file = (content: Uint8Array<ArrayBuffer>, type: string): File => new File([content], "x", { type });

describe("compressing", () => {
  beforeEach(() => vi.stubGlobal("document", undefined));
  afterEach(() => vi.unstubAllGlobals());

  it("makes a photo 800 wide, the right way up, halving on the way, as a JPEG of quality 0.8", async () => {
    const drawn = browser();
    const { blob, width, height } = await compressPicture(file(jpeg(4000, 3000, 3_000_000), "image/jpeg"));
    expect([blob.type, blob.size, width, height]).toEqual(["image/jpeg", 160_000, 800, 600]);
    expect(drawn.options).toEqual([{ imageOrientation: "from-image" }]);
    expect(drawn.canvases).toEqual([[2000, 1500], [1000, 750], [800, 600]]);
    expect(drawn.qualities).toEqual([0.8]);
  });
  it("lowers the quality where it has to, within reason", async () => {
    const drawn = browser({ encoded: (quality) => (quality > 0.65 ? 400_000 : 290_000) });
    expect((await compressPicture(file(jpeg(4000, 3000, 3_000_000), "image/jpeg"))).blob.size).toBe(290_000);
    expect(drawn.qualities.map((one) => one.toFixed(1))).toEqual(["0.8", "0.7", "0.6"]);
    const hopeless = browser({ encoded: () => 900_000 });
    await compressPicture(file(jpeg(4000, 3000, 3_000_000), "image/jpeg"));
    expect(hopeless.qualities.at(-1)).toBeCloseTo(0.4);
    expect(hopeless.qualities.length).toBe(5);
  });
  it("leaves a narrow picture its size, and takes it only where it became smaller", async () => {
    browser({ width: 640, height: 480, encoded: () => 40_000 });
    const source = file(jpeg(640, 480, 90_000), "image/jpeg");
    expect(await compressPicture(source)).toMatchObject({ width: 640, height: 480, blob: { size: 40_000 } });
    browser({ width: 640, height: 480, encoded: () => 100_000 });
    expect((await compressPicture(source)).blob).toBe(source);
    browser({ width: 1640, height: 480, encoded: () => 100_000 });
    expect((await compressPicture(file(jpeg(1640, 480, 90_000), "image/jpeg"))).blob.size).toBe(100_000);
  });
  it.each([
    ["small", jpeg(4000, 3000, 4_000)],
    ["animated", gif(2, 0, 900_000)],
    ["animated WebP", webp("VP8X", [0x02, 0, 0, 0, ...le3(799), ...le3(599)], 90_000)],
  ])("does not touch what is %s", async (_, content) => {
    const drawn = browser();
    const source = file(content, sniff(content)?.type ?? "");
    expect((await compressPicture(source)).blob).toBe(source);
    expect(drawn.options).toEqual([]);
  });
  it("does not touch a sticker, but a screenshot that merely could be transparent is none", async () => {
    const source = file(png(1200, 900, 6, [], 900_000), "image/png");
    const sticker = browser({ width: 1200, height: 900, transparent: true });
    expect(await compressPicture(source)).toEqual({ blob: source, width: 1200, height: 900 });
    expect(sticker.canvases).toEqual([[128, 96]]);
    browser({ width: 1200, height: 900 });
    expect(await compressPicture(source)).toMatchObject({ width: 800, height: 600, blob: { type: "image/jpeg" } });
  });
  it("goes by the bytes, not by the name", async () => {
    browser();
    const { blob } = await compressPicture(file(gif(2), "image/jpeg"));
    expect(blob.type).toBe("image/gif");
  });
  it("hands over what the browser cannot open and the gateway may; the rest is refused", async () => {
    browser({ opens: false });
    const source = file(jpeg(4000, 3000, 90_000), "image/jpeg");
    expect((await compressPicture(source)).blob).toBe(source);
    await expect(compressPicture(file(bytes("no picture at all"), "image/png"))).rejects.toThrow(UnsupportedPicture);
  });
  it("makes a JPEG of a kind that only the browser knows", async () => {
    browser();
    expect((await compressPicture(file(bytes("\0\0\0\x18ftypheic", Array(9_000).fill(0)), "image/heic"))).blob.type).toBe("image/jpeg");
  });
});

// --- on the way ------------------------------------------------------------------------------------------------------------

interface Sent {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: ArrayBuffer | string;
  progress: (loaded: number, total: number) => void;
  answer: (status: number, body?: object) => Promise<void>;
  fail: () => Promise<void>;
  aborted: boolean;
}
let requests: Sent[] = [];

class FakeRequest {
  method = "";
  url = "";
  status = 0;
  responseText = "";
  timeout = 0;
  headers: Record<string, string> = {};
  upload: { onprogress?: (event: { loaded: number; total: number }) => void } = {};
  onload?: () => void;
  onerror?: () => void;
  onabort?: () => void;
  #sent?: Sent;
  open(method: string, url: string): void {
    Object.assign(this, { method, url });
  }
  setRequestHeader(name: string, value: string): void {
    this.headers[name] = value;
  }
  abort(): void {
    if (this.#sent) this.#sent.aborted = true;
    this.onabort?.();
  }
  send(body: ArrayBuffer | string): void {
    this.#sent = {
      method: this.method,
      url: this.url,
      headers: this.headers,
      body,
      aborted: false,
      progress: (loaded, total) => this.upload.onprogress?.({ loaded, total }),
      answer: async (status, answer = {}) => {
        Object.assign(this, { status, responseText: JSON.stringify(answer) });
        this.onload?.();
        await settle();
      },
      fail: async () => {
        this.onerror?.();
        await settle();
      },
    };
    requests.push(this.#sent);
  }
}

describe("sending a picture", () => {
  const UPLOADS = { ...NUMBERS, upload_bytes: 2_000_000, presign: 0 };
  const PRESIGN = { ...UPLOADS, presign: 1 };
  const big = new Blob([new Uint8Array(300_000)], { type: "image/jpeg" });
  const next = async (): Promise<Sent> => {
    const began = performance.now(); // hashing is done elsewhere, and takes its time
    while (!requests.length && performance.now() - began < 10_000) await settle(1);
    return requests.shift() as Sent;
  };
  beforeEach(() => {
    begin();
    requests = [];
    vi.stubGlobal("XMLHttpRequest", FakeRequest);
  });
  afterEach(finish);

  it("goes inline where it is small, or where there is nothing else", async () => {
    const small = new Blob([new Uint8Array(200_000)], { type: "image/jpeg" });
    for (const [picture, limits] of [[small, PRESIGN], [big, NUMBERS]] as const) {
      const { chat, peer: one } = await connected({}, { limits });
      await chat.send({ picture, original: true });
      const { binary } = one.next() as { binary: Uint8Array };
      expect(binary.byteLength).toBeGreaterThan(picture.size);
      expect(requests).toEqual([]);
    }
  });

  it("goes to the gateway where it is larger, with progress; its message names it, and those after it wait", async () => {
    const { chat, peer: one } = await connected({}, { limits: UPLOADS });
    const id = await chat.send({ text: "see", picture: big, original: true });
    await chat.send({ text: "after" });
    const request = await next();
    expect(request).toMatchObject({ method: "POST", url: "http://one.test/v1/uploads", headers: { Authorization: `Bearer ${token({ sub: "ann" })}`, "Content-Type": "image/jpeg" } });
    expect((request.body as ArrayBuffer).byteLength).toBe(300_000);
    request.progress(150_000, 300_000);
    expect(own(chat)[0]).toMatchObject({ state: "uploading", progress: 0.5, picture: { url: expect.stringMatching(/^blob:/) } });
    expect(one.all()).toEqual([]);
    await request.answer(201, { upload: "u1", bytes: 300_000 });
    expect(one.all()).toEqual([{ type: "message", id, text: "see", upload: "u1" }]);
    one.say({ type: "ack", id, offset: 1 });
    expect(one.all()).toMatchObject([{ text: "after" }]);
  });

  it("goes to the bucket where the gateway gives an address, with its hash", async () => {
    const { chat, peer: one } = await connected({}, { limits: PRESIGN });
    const id = await chat.send({ picture: big, original: true });
    const wish = await next();
    expect(wish).toMatchObject({ method: "POST", url: "http://one.test/v1/uploads/presign" });
    expect(JSON.parse(wish.body as string)).toEqual({ bytes: 300_000, type: "image/jpeg", sha256: Buffer.from(await crypto.subtle.digest("SHA-256", new Uint8Array(300_000))).toString("hex") });
    await wish.answer(201, { upload: "u2", url: "https://bucket.test/x?s=1", method: "PUT", headers: { "Content-Type": "image/jpeg" } });
    const put = await next();
    expect(put).toMatchObject({ method: "PUT", url: "https://bucket.test/x?s=1", headers: { "Content-Type": "image/jpeg" } });
    expect(put.headers).not.toHaveProperty("Authorization"); // a bucket is no place for it
    await put.answer(200);
    expect(one.all()).toEqual([{ type: "message", id, upload: "u2" }]);
  });

  it.each([["is refused", 403], ["cannot be reached", 0]])("goes to the gateway after all where the bucket %s", async (_, status) => {
    const { chat, peer: one } = await connected({}, { limits: PRESIGN });
    const id = await chat.send({ picture: big, original: true });
    await (await next()).answer(201, { upload: "u3", url: "/v1/uploads/u3?s=1", method: "PUT" });
    const put = await next();
    expect(put.url).toBe("http://one.test/v1/uploads/u3?s=1");
    await (status ? put.answer(status) : put.fail());
    const post = await next();
    expect(post.url).toBe("http://one.test/v1/uploads");
    await post.answer(201, { upload: "u4" });
    expect(one.all()).toEqual([{ type: "message", id, upload: "u4" }]);
  });

  it("goes to the gateway where a page without TLS cannot hash", async () => {
    vi.stubGlobal("crypto", { getRandomValues: (array: Uint8Array) => array.map(() => Math.random() * 256) });
    const { chat } = await connected({}, { limits: PRESIGN });
    await chat.send({ picture: big, original: true });
    expect((await next()).url).toBe("http://one.test/v1/uploads");
  });

  it("gets a new token where the old one has ended", async () => {
    let asked = 0;
    const { chat, peer: one } = await connected({ token: () => token({ sub: "ann", n: ++asked }) }, { limits: UPLOADS });
    await chat.send({ picture: big, original: true });
    await (await next()).answer(401, { code: "expired" });
    const again = await next();
    expect(again.headers.Authorization).toBe(`Bearer ${token({ sub: "ann", n: 2 })}`);
    await again.answer(201, { upload: "u" });
    expect(one.all().length).toBe(1);
  });

  it("tries again after a while where the gateway is busy or out of reach, and fails where it does not want the picture", async () => {
    const { chat, peer: one } = await connected({}, { limits: UPLOADS });
    one.alive = true;
    await chat.send({ picture: big, original: true });
    await (await next()).answer(429, { code: "rate_limited", message: "Slowly.", retry_after: 3 });
    expect(own(chat)).toMatchObject([{ state: "queued" }]);
    await pass(2_900);
    expect(requests).toEqual([]);
    await pass(200);
    await (await next()).fail();
    await pass(2_100);
    await (await next()).answer(415, { code: "unsupported_image", message: "Of no kind we know." });
    expect(own(chat)).toMatchObject([{ state: "failed", error: { code: "unsupported_image", text: "Of no kind we know.", retryable: false } }]);
    expect(one.all()).toEqual([]);
  });

  it("goes once more where the upload had run out before its message came", async () => {
    const { chat, peer: one } = await connected({}, { limits: UPLOADS });
    const id = await chat.send({ picture: big, original: true });
    await (await next()).answer(201, { upload: "old" });
    one.all();
    one.say({ type: "error", code: "not_found", message: "Nothing.", ref: "r", id });
    await (await next()).answer(201, { upload: "new" });
    expect(one.all()).toEqual([{ type: "message", id, upload: "new" }]);
    one.say({ type: "error", code: "not_found", message: "Nothing.", ref: "r", id });
    await settle();
    expect(own(chat)).toMatchObject([{ state: "failed", error: { code: "not_found", retryable: true } }]);
  });

  it("stops with the connection, and with the person", async () => {
    const { chat, peer: one } = await connected({}, { limits: UPLOADS });
    const id = await chat.send({ picture: big, original: true });
    const first = await next();
    one.end(1006);
    expect(first.aborted).toBe(true);
    await pass(100);
    const two = (await import("./fakes.js")).world.peers.shift();
    two?.all();
    two?.welcome({ recovered: true, limits: UPLOADS });
    two?.say({ type: "history", events: [] });
    const second = await next();
    chat.cancel(id);
    await settle();
    expect(second.aborted).toBe(true);
    expect(own(chat)).toEqual([]);
  });

  it("fails at once where nothing takes it", async () => {
    const { chat } = await connected({}, { limits: { ...UPLOADS, upload_bytes: 290_000 } });
    await chat.send({ picture: big, original: true });
    const other = await connected({}, { limits: { ...NUMBERS, max_message_bytes: 290_000 } });
    await other.chat.send({ picture: big, original: true });
    await settle();
    for (const one of [chat, other.chat]) expect(own(one)).toMatchObject([{ state: "failed", error: { code: "too_large" } }]);
  });

  it("is shown while it is made smaller, and fails where it is none", async () => {
    const { chat } = tab({ storage: null });
    const sending = chat.send({ picture: new Blob(["no picture"], { type: "image/png" }) });
    for (let tries = 0; tries < 3; tries++) await Promise.resolve();
    await settle(1);
    expect(own(chat)).toMatchObject([{ picture: { url: expect.stringMatching(/^blob:/) } }]);
    await sending;
    expect(own(chat)).toMatchObject([{ state: "failed", error: { code: "unsupported_image" } }]);
  });
});
