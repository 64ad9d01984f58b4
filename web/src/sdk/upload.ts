/** Pictures that go by HTTP, and are named in their message: with progress, by way of the gateway or to its bucket. */
import type { StoredPicture } from "./store.js";
import type { Failure } from "./types.js";

export interface UploadPlace {
  /** The HTTP side of the gateway. */
  readonly origin: string;
  token(): Promise<string>;
  /** The token was refused. */
  drop(token: string): void;
  /** Whether the gateway offers addresses of its bucket. */
  readonly presign: boolean;
  /** 0 to 1. */
  progress(share: number): void;
  readonly signal: AbortSignal;
}

/** An upload that did not work, and why. */
export class UploadFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.text);
  }
}

interface Answer {
  status: number;
  body: { upload?: unknown; url?: unknown; method?: unknown; headers?: unknown; code?: unknown; message?: unknown; retry_after?: unknown };
}

/** Bytes a second that a connection must manage, as for messages. */
const SLOWEST = 8 * 1024;
const PATIENCE_MS = 20_000;

/** The name of the upload. Raises {@link UploadFailed}. */
export async function upload(picture: StoredPicture, place: UploadPlace): Promise<string> {
  if (place.presign && globalThis.crypto?.subtle) {
    const name = await direct(picture, place);
    if (name) return name;
  }
  const answer = await authorised(place, (token) =>
    send("POST", `${place.origin}/v1/uploads`, { Authorization: `Bearer ${token}`, "Content-Type": picture.type }, picture.bytes, place),
  );
  return nameIn(answer);
}

/** To the bucket itself; undefined where that does not work, whatever the reason: the gateway takes the file as well. */
async function direct(picture: StoredPicture, place: UploadPlace): Promise<string | undefined> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", picture.bytes));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const wish = JSON.stringify({ bytes: picture.bytes.byteLength, type: picture.type, sha256 });
  const offer = await authorised(place, (token) =>
    send("POST", `${place.origin}/v1/uploads/presign`, { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, wish, { signal: place.signal }),
  );
  const name = nameIn(offer);
  const { url, method, headers } = offer.body;
  if (typeof url !== "string") return undefined;
  try {
    const put = await send(typeof method === "string" ? method : "PUT", new URL(url, place.origin).href, (headers ?? {}) as Record<string, string>, picture.bytes, place);
    return put.status < 300 ? name : undefined;
  } catch (error) {
    if (place.signal.aborted) throw error;
    return undefined;
  }
}

/** With a new token where the first one is refused. */
async function authorised(place: UploadPlace, work: (token: string) => Promise<Answer>): Promise<Answer> {
  const token = await place.token();
  const answer = await work(token);
  if (answer.status !== 401) return answer;
  place.drop(token);
  return work(await place.token());
}

function nameIn({ status, body }: Answer): string {
  if (status < 300 && typeof body.upload === "string") return body.upload;
  const busy = status === 429 || status >= 500 || status < 300;
  throw new UploadFailed({
    code: typeof body.code === "string" ? body.code : busy ? "network" : "bad_image",
    text: typeof body.message === "string" ? body.message : `The picture could not be sent (HTTP ${status}).`,
    retryable: busy || status === 401,
    ...(typeof body.retry_after === "number" ? { retryAfter: body.retry_after } : {}),
  });
}

/** XMLHttpRequest, as fetch does not tell how far it is. */
function send(
  method: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  body: ArrayBuffer | string,
  { signal, progress }: { signal: AbortSignal; progress?: (share: number) => void },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (): void => reject(new UploadFailed({ code: "network", text: "The picture could not be sent.", retryable: true }));
    if (signal.aborted) return fail();
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.timeout = PATIENCE_MS + (typeof body === "string" ? 0 : (body.byteLength / SLOWEST) * 1000);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.onprogress = ({ loaded, total }) => total && progress(loaded / total);
    request.onload = () => resolve({ status: request.status, body: parsed(request.responseText) });
    request.onerror = request.ontimeout = request.onabort = fail;
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

function parsed(text: string): Answer["body"] {
  try {
    return (JSON.parse(text) ?? {}) as Answer["body"];
  } catch {
    return {};
  }
}
