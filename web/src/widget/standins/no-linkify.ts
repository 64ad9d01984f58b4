/** Stands in for `linkify-it` and `punycode.js`: the rule in linkify.ts needs neither, and host names are the browser's. */
export default class Nothing {}
