/** The door of the SDK. */
export { Chat } from "./chat.js";
export { type Compressed, type CompressOptions, compressPicture } from "./picture.js";
export type * from "./types.js";
