import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
// @ts-expect-error a script
import { generate, target } from "../../scripts/types.mjs";

describe("the protocol's types", () => {
  it("are those of its schemas; npm run types makes them again", () => {
    expect(readFileSync(target as string, "utf8")).toBe(generate());
  });
});
