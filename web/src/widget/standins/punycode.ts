/** Stands in for `punycode.js`: the browser's own URL parser knows how a host name is written in ASCII (UTS 46). */
export function toASCII(host: string): string {
  try {
    return new URL(`http://${host}`).hostname || host;
  } catch {
    return host;
  }
}

/** Left in ASCII: an address that looks like another one in a different script should look strange. */
export function toUnicode(host: string): string {
  return host;
}

export default { toASCII, toUnicode };
