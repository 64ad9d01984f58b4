import { defineConfig } from "vitest/config";
import { standins } from "./scripts/standins.mjs";

export default defineConfig({
  resolve: { alias: standins },
  test: { include: ["tests/**/*.test.ts"], environment: "node", testTimeout: 20_000, restoreMocks: true, maxWorkers: 2, server: { deps: { inline: ["markdown-it"] } } },
});
