import { home } from "./address.js";
import { type ShrinkJob, type Shrunk, shrink } from "./shrink.js";
import { type Sniffed, sniff } from "./sniff.js";

/** How pictures are made smaller. */
export interface CompressOptions {
  /** Pixels; a wider picture is made so wide. Default 800. */
  maxWidth?: number;
  /** Of the JPEG, 0 to 1. Default 0.8; less where `maxBytes` would be passed. */
  quality?: number;
  /** Default 300 KB. */
  maxBytes?: number;
  /** False: on the main thread. Default: in a worker where the page comes from the same place as the SDK. */
  worker?: boolean;
}

/** `width` and `height` are 0 where they are not known. */
export interface Compressed {
  blob: Blob;
  width: number;
  height: number;
}

/** A file up to this size is sent as it is: stickers mostly. */
export const SMALL_BYTES = 5 * 1024;
/** A larger file is no photo, and would fill the memory of a phone. */
const LARGEST_BYTES = 100 * 1024 * 1024;
const WORKER_MS = 20_000;

/** The picture is of no kind that the gateway or the browser can open. */
export class UnsupportedPicture extends Error {}

/**
 * The picture as it should be sent: a photo as a JPEG at most 800 pixels wide, the right way up. What is small, animated or
 * has transparent pixels (a sticker) stays as it is, and so does what would not become smaller.
 *
 * @throws {UnsupportedPicture} it cannot be opened here, and the gateway could not open it either.
 */
export async function compressPicture(file: Blob, options: CompressOptions = {}): Promise<Compressed> {
  if (file.size > LARGEST_BYTES) throw new UnsupportedPicture("too large");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const known = sniff(bytes);
  // A file's type is what its name says; the gateway and the browser go by the bytes.
  const original = known && known.type !== file.type ? new Blob([bytes], { type: known.type }) : file;
  const asItIs = (one: Sniffed): Compressed => ({ blob: original, width: one.width, height: one.height });
  if (known && (bytes.length <= SMALL_BYTES || known.animated)) return asItIs(known);
  const { maxWidth = 800, quality = 0.8, maxBytes = 300 * 1024, worker = true } = options;
  const job: ShrinkJob = { file: original, maxWidth, quality, maxBytes, keepAlpha: known?.alpha ?? false };
  let shrunk: Shrunk;
  try {
    shrunk = await ((worker && inWorker(job)) || shrink(job));
  } catch (error) {
    if (known) return asItIs(known); // the gateway may manage
    throw new UnsupportedPicture(String(error));
  }
  const { blob, width, height } = shrunk;
  if (known && (!blob || (blob.size >= bytes.length && known.width <= maxWidth))) return { blob: original, width, height };
  if (!blob) throw new UnsupportedPicture("of no known kind");
  return { blob, width, height };
}

let worker: Worker | null | undefined;
let queue: Promise<unknown> = Promise.resolve();

/** Undefined: there is no worker. */
function inWorker(job: ShrinkJob): Promise<Shrunk> | undefined {
  if (worker === undefined) worker = startWorker();
  if (!worker) return undefined;
  const result = queue.then(() => ask(job));
  queue = result.catch(() => {});
  return result;
}

function startWorker(): Worker | null {
  // A browser takes workers from the page's own origin only, and this one from a file: a page's Content-Security-Policy
  // that allows its scripts allows it as well.
  try {
    if (!home || typeof Worker !== "function" || typeof OffscreenCanvas !== "function") return null;
    const url = new URL("/csgate-worker.js", home);
    return url.origin === location.origin ? new Worker(url) : null;
  } catch {
    return null;
  }
}

async function ask(job: ShrinkJob): Promise<Shrunk> {
  const one = worker;
  if (!one) return shrink(job);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const answer = await new Promise<{ done?: Shrunk; failed?: string }>((resolve, reject) => {
      one.onmessage = ({ data }) => resolve(data as { done?: Shrunk; failed?: string });
      one.onerror = (event) => {
        event.preventDefault();
        reject(new Error("the worker does not run"));
      };
      timer = setTimeout(() => reject(new Error("the worker does not answer")), WORKER_MS);
      one.postMessage(job);
    });
    if (answer.done) return answer.done;
  } catch {
    // It is not there, or may not run here: never again.
    one.terminate();
    worker = null;
  } finally {
    clearTimeout(timer);
  }
  return shrink(job); // which may open what a worker cannot
}
