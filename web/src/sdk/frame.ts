/** How an own message goes over the wire. */
import type { Item } from "./store.js";
import type { Failure } from "./types.js";

/** Larger pictures are uploaded, where the gateway takes uploads. */
export const INLINE_BYTES = 256 * 1024;
/** What a frame holds besides text and picture, at most. */
const HEADER_BYTES = 1024;

/**
 * Undefined: the picture has to be uploaded first; a {@link Failure}: nobody will take it. How a picture goes is noted in
 * the item, as a message that is sent again has to be the same.
 */
export function frameOf(item: Item, limits: Readonly<Record<string, number>>): string | Uint8Array<ArrayBuffer> | Failure | undefined {
  const most = limits["max_message_bytes"] ?? Number.POSITIVE_INFINITY;
  const tooLarge = (text: string): Failure => ({ code: "too_large", text, retryable: false });
  const letters = limits["max_text_chars"];
  if (letters && item.text.length > letters && [...item.text].length > letters) return tooLarge(`The text is longer than ${letters} characters.`);
  const { picture } = item;
  const head = { type: "message", id: item.id, ...(item.text ? { text: item.text } : {}) };
  if (!picture) return JSON.stringify(head);
  const size = picture.bytes.byteLength;
  const uploads = limits["upload_bytes"];
  const fits = size + HEADER_BYTES + item.text.length * 3 <= most;
  picture.form ??= uploads && (size > INLINE_BYTES || !fits) ? "upload" : "inline";
  if (picture.form === "upload") {
    if (picture.upload) return JSON.stringify({ ...head, upload: picture.upload });
    return uploads && size > uploads ? tooLarge(`The picture is larger than ${uploads} bytes.`) : undefined;
  }
  if (!fits) return tooLarge(`The picture is larger than ${most} bytes.`);
  const header = new TextEncoder().encode(JSON.stringify(head));
  const frame = new Uint8Array(4 + header.length + size);
  new DataView(frame.buffer).setUint32(0, header.length);
  frame.set(header, 4);
  frame.set(new Uint8Array(picture.bytes), 4 + header.length);
  return frame;
}
