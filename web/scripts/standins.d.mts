export const standins: { find: RegExp; replacement: string }[];
