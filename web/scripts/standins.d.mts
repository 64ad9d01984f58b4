import type { Plugin } from "vite";
export const standins: { find: RegExp; replacement: string }[];
export function lean(): Plugin;
