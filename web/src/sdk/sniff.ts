/** What a picture file is, from its bytes; its name and type are what somebody says. */

export type PictureKind = "jpeg" | "png" | "webp" | "gif";

export interface Sniffed {
  readonly kind: PictureKind;
  readonly type: string;
  /** In pixels as stored, before any orientation; 0 where the file does not say. */
  readonly width: number;
  readonly height: number;
  /** It may have transparent pixels. */
  readonly alpha: boolean;
  readonly animated: boolean;
}

const ascii = (bytes: Uint8Array, at: number, length: number): string => String.fromCharCode(...bytes.subarray(at, at + length));

/** Undefined: it is none of these. Never raises, whatever the bytes are. */
export function sniff(bytes: Uint8Array): Sniffed | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return { kind: "jpeg", type: "image/jpeg", ...jpegSize(bytes), alpha: false, animated: false };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (ascii(bytes, 0, 8) === "\x89PNG\r\n\x1a\n" && bytes.length >= 33) return png(bytes, view);
  if (/^GIF8[79]a/.test(ascii(bytes, 0, 6)) && bytes.length >= 13) {
    return { kind: "gif", type: "image/gif", width: view.getUint16(6, true), height: view.getUint16(8, true), ...gifFrames(bytes) };
  }
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WEBP" && bytes.length >= 30) return webp(bytes, view);
  return undefined;
}

function jpegSize(bytes: Uint8Array): { width: number; height: number } {
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1] as number;
    if (marker === 0xff) at++;
    else if (marker >= 0xd0 && marker <= 0xd8) at += 2;
    // SOF0 to SOF15, which lie between other things.
    else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      const word = (place: number): number => ((bytes[place] as number) << 8) | (bytes[place + 1] as number);
      return { height: word(at + 5), width: word(at + 7) };
    } else at += 2 + Math.max(2, ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
  }
  return { width: 0, height: 0 };
}

function png(bytes: Uint8Array, view: DataView): Sniffed {
  const colour = bytes[25] as number;
  let alpha = colour === 4 || colour === 6;
  let animated = false;
  for (let at = 8; at + 8 <= bytes.length; at += 12 + view.getUint32(at)) {
    const chunk = ascii(bytes, at + 4, 4);
    if (chunk === "IDAT" || chunk === "IEND") break;
    alpha ||= chunk === "tRNS";
    animated ||= chunk === "acTL";
  }
  return { kind: "png", type: "image/png", width: view.getUint32(16), height: view.getUint32(20), alpha, animated };
}

function webp(bytes: Uint8Array, view: DataView): Sniffed {
  const base = { kind: "webp", type: "image/webp" } as const;
  const chunk = ascii(bytes, 12, 4);
  if (chunk === "VP8X") {
    const flags = bytes[20] as number;
    const size = (at: number): number => 1 + (view.getUint32(at, true) & 0xffffff);
    return { ...base, width: size(24), height: 1 + ((view.getUint16(27, true) | ((bytes[29] as number) << 16)) >>> 0), alpha: (flags & 0x10) !== 0, animated: (flags & 0x02) !== 0 };
  }
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { ...base, width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff), alpha: ((bits >>> 28) & 1) === 1, animated: false };
  }
  return { ...base, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, alpha: false, animated: false };
}

/** Walks a GIF's blocks until it is clear. */
function gifFrames(bytes: Uint8Array): { alpha: boolean; animated: boolean } {
  const table = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let at = 13 + table(bytes[10] as number);
  let alpha = false;
  let frames = 0;
  const skip = (): void => {
    while (at < bytes.length && bytes[at] !== 0) at += (bytes[at] as number) + 1;
    at++;
  };
  while (at < bytes.length && frames < 2) {
    if (bytes[at] === 0x21) {
      if (bytes[at + 1] === 0xf9 && ((bytes[at + 3] as number) & 1) === 1) alpha = true;
      at += 2;
      skip();
    } else if (bytes[at] === 0x2c) {
      frames++;
      at += 10 + table(bytes[at + 9] as number) + 1;
      skip();
    } else break;
  }
  return { alpha, animated: frames > 1 };
}
