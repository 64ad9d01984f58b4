/**
 * Stands in for `entities`, whose table of 2,231 named references is 18 KB: numeric references, and the names that
 * people and models write. An unknown name stays as it is, as CommonMark has it for names that do not exist.
 */
const LATIN =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para " +
  "middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute " +
  "Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute " +
  "THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde " +
  "ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";
const OTHERS =
  "amp& lt< gt> quot\" apos' hellip… ndash– mdash— lsquo‘ rsquo’ sbquo‚ ldquo“ rdquo” bdquo„ lsaquo‹ rsaquo› bull• trade™ euro€ " +
  "larr← uarr↑ rarr→ darr↓ harr↔ rArr⇒ le≤ ge≥ ne≠ asymp≈ equiv≡ minus− infin∞ radic√ sum∑ prod∏ permil‰ prime′ Prime″ check✓ " +
  "cross✗ star☆ starf★ hearts♥ alpha\u03b1 beta\u03b2 gamma\u03b3 delta\u03b4 pi\u03c0 mu\u03bc sigma\u03c3 omega\u03c9 Delta\u0394 Omega\u03a9 ensp\u2002 emsp\u2003 thinsp\u2009 zwnj\u200c zwj\u200d";

let names: Map<string, string> | undefined;

function table(): Map<string, string> {
  const made = new Map<string, string>();
  LATIN.split(" ").forEach((name, index) => made.set(name, String.fromCharCode(160 + index)));
  // By characters that may not break a line, since the spaces in the list are themselves references.
  for (const entry of OTHERS.split(" ")) made.set(entry.slice(0, -1), entry.slice(-1));
  return made;
}

function character(code: number): string {
  const wrong = !(code > 0 && code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff);
  return wrong ? "\ufffd" : String.fromCodePoint(code);
}

/** Decodes references that end with a semicolon. */
export function decodeHTMLStrict(text: string): string {
  return text.replace(/&(?:#x([\da-f]{1,6})|#(\d{1,7})|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (hex) return character(parseInt(hex, 16));
    if (decimal) return character(parseInt(decimal, 10));
    names ??= table();
    return names.get(name ?? "") ?? whole;
  });
}

export { decodeHTMLStrict as decodeHTML };
