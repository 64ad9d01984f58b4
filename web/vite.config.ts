import { defineConfig } from "vite";
import { lean, standins } from "./scripts/standins.mjs";

// The page at /, and the development server. The other outputs are made by scripts/build.mjs.
export default defineConfig({
  base: "./",
  resolve: { alias: standins },
  plugins: [lean()],
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  server: {
    proxy: {
      "/ws": { target: "ws://127.0.0.1:8080", ws: true },
      "/v1": "http://127.0.0.1:8080",
      "/media": "http://127.0.0.1:8080",
    },
  },
});
