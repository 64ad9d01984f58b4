import { defineConfig } from "vitest/config";
import { lean, standins } from "./scripts/standins.mjs";

export default defineConfig({
  resolve: { alias: standins },
  plugins: [lean()],
  test: { include: ["tests/**/*.test.ts"], environment: "node", testTimeout: 20_000, restoreMocks: true, maxWorkers: 2, server: { deps: { inline: ["markdown-it", "dompurify"] } } },
});
