import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ShrinkJob } from "../../src/sdk/shrink.js";

const PHOTO = new Blob([Uint8Array.from([0xff, 0xd8, 0xff, ...Array(9_000).fill(1)])], { type: "image/jpeg" });
const DONE = { blob: new Blob(["small"], { type: "image/jpeg" }), width: 800, height: 600 };

/** As on a page at page.test whose scripts come from `script`. */
async function compressor(script: string): Promise<(file: Blob) => Promise<{ blob: Blob; width: number }>> {
  vi.resetModules();
  vi.doMock("../../src/sdk/address.js", () => ({ home: script }));
  return (await import("../../src/sdk/picture.js")).compressPicture;
}

let workers: FakeWorker[] = [];
let answer: (worker: FakeWorker, job: ShrinkJob) => void;

class FakeWorker {
  onmessage?: (event: { data: unknown }) => void;
  onerror?: (event: { preventDefault: () => void }) => void;
  jobs = 0;
  ended = false;
  constructor(readonly url: URL) {
    workers.push(this);
  }
  postMessage(job: ShrinkJob): void {
    this.jobs++;
    queueMicrotask(() => answer(this, job));
  }
  terminate(): void {
    this.ended = true;
  }
}

describe("the worker", () => {
  let here = 0;
  beforeEach(() => {
    workers = [];
    here = 0;
    vi.stubGlobal("Worker", FakeWorker);
    vi.stubGlobal("location", new URL("https://page.test/shop"));
    vi.stubGlobal("createImageBitmap", async () => {
      here++;
      return { width: 800, height: 600, close: () => {} };
    });
    vi.stubGlobal(
      "OffscreenCanvas",
      class {
        getContext = () => ({ drawImage: () => {}, fillRect: () => {} });
        convertToBlob = async () => DONE.blob;
      },
    );
  });
  afterEach(() => {
    vi.doUnmock("../../src/sdk/address.js");
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("does the work where the page comes from the same place, one picture after the other", async () => {
    answer = (worker) => worker.onmessage?.({ data: { done: DONE } });
    const compress = await compressor("https://page.test/assets/page-1.js");
    const all = await Promise.all([compress(PHOTO), compress(PHOTO)]);
    expect(all.map(({ blob }) => blob.size)).toEqual([5, 5]);
    expect(workers.map(({ url, jobs }) => [url.href, jobs])).toEqual([["https://page.test/csgate-worker.js", 2]]);
    expect(here).toBe(0);
  });

  it("is not asked for on somebody else's page, which could not have it", async () => {
    const compress = await compressor("https://chat.test/csgate.js");
    expect((await compress(PHOTO)).width).toBe(800);
    expect(workers).toEqual([]);
    expect(here).toBe(1);
  });

  it.each([
    ["cannot be loaded", (worker: FakeWorker) => worker.onerror?.({ preventDefault: () => {} })],
    ["does not answer", () => vi.advanceTimersByTime(20_000)],
  ])("that %s is not asked again", async (_, fail) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    answer = fail;
    const compress = await compressor("https://page.test/csgate.js");
    expect((await compress(PHOTO)).width).toBe(800);
    expect((await compress(PHOTO)).width).toBe(800);
    expect(workers.map(({ jobs, ended }) => [jobs, ended])).toEqual([[1, true]]);
    expect(here).toBe(2);
  });

  it("that cannot open a picture leaves it to the page, and stays", async () => {
    answer = (worker) => worker.onmessage?.({ data: { failed: "InvalidStateError" } });
    const compress = await compressor("https://page.test/csgate.js");
    for (let time = 0; time < 2; time++) expect((await compress(PHOTO)).width).toBe(800);
    expect(workers.map(({ jobs }) => jobs)).toEqual([2]);
  });

  it("that a policy forbids is done without", async () => {
    vi.stubGlobal("Worker", function refuse() {
      throw new DOMException("refused", "SecurityError");
    });
    const compress = await compressor("https://page.test/csgate.js");
    expect((await compress(PHOTO)).width).toBe(800);
  });
});
