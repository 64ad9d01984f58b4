// What the built scripts weigh; fails where one is too heavy.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(root, "../src/csgate/web/dist"));
/** Bytes after gzip -9 that a file may have. */
const bounds = { "csgate.js": 60 * 1024, "csgate.mjs": 60 * 1024, "csgate-sdk.mjs": 16 * 1024, "csgate-worker.js": 3 * 1024 };

let heavy = false;
for (const [file, bound] of Object.entries(bounds)) {
  const path = join(out, file);
  if (!existsSync(path)) {
    console.error(`${path} is missing; run npm run build first`);
    process.exit(1);
  }
  const bytes = readFileSync(path);
  const packed = gzipSync(bytes, { level: 9 }).length;
  const over = packed > bound;
  heavy ||= over;
  console.log(`${file.padEnd(18)} ${String(bytes.length).padStart(8)} bytes ${String(packed).padStart(7)} gzip, at most ${bound}${over ? "  TOO HEAVY" : ""}`);
}
process.exit(heavy ? 1 : 0);
