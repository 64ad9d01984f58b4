/**
 * Stands in for `mdurl`: encodes what an address may not contain and leaves what is already encoded. Taking an address
 * apart is left to the browser, which does it again anyway when the link is used.
 */
interface Parsed {
  href: string;
  protocol: string | null;
  hostname: string | null;
  auth: null;
  pathname: string;
  search: null;
  hash: null;
}

const KEEP = /%[\da-f]{2}|[^]/giu;

export function encode(text: string): string {
  return text.replace(KEEP, (piece) => {
    if (piece.length === 3 && piece[0] === "%") return piece;
    try {
      return encodeURI(piece).replace(/%5([BD])/g, (_, letter) => (letter === "B" ? "[" : "]"));
    } catch {
      return "%EF%BF%BD"; // half of a surrogate pair
    }
  });
}

export function decode(text: string): string {
  try {
    return decodeURI(text);
  } catch {
    return text;
  }
}
decode.defaultChars = "";

export function parse(address: string): Parsed {
  const [, protocol = null, hostname = null, rest = address] =
    /^([a-z][a-z\d+.-]*:)?\/\/([^/?#\s]*)([^]*)$/i.exec(address) ?? [];
  return { href: address, protocol, hostname, auth: null, pathname: rest, search: null, hash: null };
}

export function format(parsed: Parsed): string {
  return parsed.hostname === null ? parsed.pathname : `${parsed.protocol ?? ""}//${parsed.hostname}${parsed.pathname}`;
}
