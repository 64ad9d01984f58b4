/**
 * Stands in for `uc.micro`, whose tables of Unicode categories are 5 KB: the same categories by property escapes, which
 * every browser has since 2020. markdown-it uses P and S.
 */
export const P = /\p{P}/u;
export const S = /\p{S}/u;
export const Z = /\p{Z}/u;
export const Cc = /\p{Cc}/u;
export const Cf = /\p{Cf}/u;
export const Any = /[^]/u;
