/**
 * Stands in for `mdurl`: encodes what an address may not contain and leaves what is already encoded. Taking an address
 * apart is left to the browser, which does it anyway when the link is used.
 */
export function encode(text: string): string {
  return text.replace(/%[\da-f]{2}|[^]/giu, (piece) => {
    if (piece.length === 3 && piece[0] === "%") return piece;
    try {
      return encodeURI(piece);
    } catch {
      return "%EF%BF%BD"; // half of a surrogate pair
    }
  });
}

export function decode(text: string): string {
  return text;
}
decode.defaultChars = "";

export function parse(href: string): { href: string } {
  return { href };
}

export function format(parsed: { href: string }): string {
  return parsed.href;
}
