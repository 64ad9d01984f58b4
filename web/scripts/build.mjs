// Makes every output of the package: the page, the scripts for other people's pages, and the SDK's types.
//   node scripts/build.mjs [folder]     default: ../src/csgate/web/dist
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { lean, standins } from "./standins.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(root, "../src/csgate/web/dist"));

const common = {
  root,
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  resolve: { alias: standins },
  plugins: [lean()],
};

/** One file from one entry, with everything in it. */
async function script(entry, file, format, more = {}) {
  await build({
    ...common,
    define: format === "iife" ? { "import.meta.url": "undefined" } : {},
    build: {
      outDir: out,
      emptyOutDir: false,
      target: "es2022",
      minify: "terser", // a second longer and 1 % lighter
      terserOptions: { compress: { passes: 3 }, format: { comments: /^!/ } },
      reportCompressedSize: false,
      lib: { entry: join(root, entry), formats: [format], name: "csgate", fileName: () => file },
      rollupOptions: { output: { codeSplitting: false, minify: true }, checks: { bundlerTimings: false } },
      ...more,
    },
  });
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
if (existsSync(join(root, "index.html"))) {
  await build({ root, logLevel: "warn", build: { outDir: out, emptyOutDir: false } });
}
await script("src/csgate.ts", "csgate.js", "iife");
await script("src/csgate.ts", "csgate.mjs", "es");
await script("src/sdk/index.ts", "csgate-sdk.mjs", "es");
await script("src/sdk/worker.ts", "csgate-worker.js", "iife");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.sdk.json"), "--outDir", join(out, "types")], { stdio: "inherit" });
console.log(`web: built into ${out}`);
