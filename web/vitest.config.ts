import { defineConfig } from "vitest/config";
import { leanPurify, standins } from "./scripts/standins.mjs";

export default defineConfig({
  resolve: { alias: standins },
  plugins: [leanPurify()],
  test: { include: ["tests/**/*.test.ts"], environment: "node", testTimeout: 20_000, restoreMocks: true, maxWorkers: 2, server: { deps: { inline: ["markdown-it", "dompurify"] } } },
});
