/** All in one: the SDK, and <csgate-chat>. */
export * from "./sdk/index.js";
export * from "./widget/index.js";
