/** How large a picture is, from the first bytes of a `data:` address: its box can then be made before it is decoded. */
export interface Size {
  width: number;
  height: number;
}

/** Of a PNG, GIF, WebP or JPEG; undefined where the address is none of these, or the bytes do not say. */
export function sizeOf(address: string): Size | undefined {
  const found = /^data:image\/[a-z+]+;base64,([A-Za-z\d+/]{32,65536})/.exec(address)?.[1];
  if (!found) return undefined;
  let text: string;
  try {
    text = atob(found.slice(0, found.length - (found.length % 4)));
  } catch {
    return undefined;
  }
  const byte = (at: number): number => text.charCodeAt(at); // NaN beyond the end, which fails every check below
  const big = (at: number): number => (byte(at) << 8) | byte(at + 1);
  const little = (at: number): number => byte(at) | (byte(at + 1) << 8);
  const size = (width: number, height: number): Size | undefined => (width > 0 && height > 0 ? { width, height } : undefined);

  if (text.startsWith("\x89PNG")) return size(big(18), big(22));
  if (text.startsWith("GIF8")) return size(little(6), little(8));
  if (text.startsWith("RIFF") && text.startsWith("WEBP", 8)) {
    const kind = text.slice(12, 16);
    if (kind === "VP8X") return size(little(24) + 1, little(27) + 1);
    if (kind === "VP8 ") return size(little(26) & 0x3fff, little(28) & 0x3fff);
    const bits = little(21) | (little(23) << 16);
    return size((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1);
  }
  if (!text.startsWith("\xff\xd8")) return undefined;
  for (let at = 2; byte(at) === 0xff; at += 2 + big(at + 2)) {
    const marker = byte(at + 1);
    // SOF0 to SOF15, without DHT, JPG and DAC, which stand between them.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return size(big(at + 7), big(at + 5));
    if (big(at + 2) < 2) return undefined;
  }
  return undefined;
}
