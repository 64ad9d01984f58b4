/** Stands in for presets of markdown-it that are not used. */
export default {};
