// TypeScript types of the chat protocol, made from docs/protocol/*.schema.json.
//   node scripts/types.mjs            writes src/sdk/protocol.ts
//   node scripts/types.mjs --check    fails where it would change
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
export const schemas = join(root, "../docs/protocol");
export const target = join(root, "src/sdk/protocol.ts");

const pascal = (name) => name.replace(/(?:^|[-_])(\w)/g, (_, letter) => letter.toUpperCase());
// `MessageEvent` of the history is the envelope `server: message`, and a name of the browser's.
const nameOf = (definition) => (definition.endsWith("Event") ? `Server${definition.slice(0, -5)}` : definition);

function typeOf(schema, indent) {
  if (schema.$ref) return nameOf(schema.$ref.slice("#/$defs/".length));
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const union = schema.properties ? undefined : (schema.anyOf ?? schema.oneOf);
  if (union) return [...new Set(union.map((part) => typeOf(part, indent)))].join(" | ");
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array": {
      const item = typeOf(schema.items ?? {}, indent);
      return item.includes("|") ? `(${item})[]` : `${item}[]`;
    }
    case "object":
      if (schema.properties) return fieldsOf(schema, indent);
      return `Record<string, ${schema.additionalProperties ? typeOf(schema.additionalProperties, indent) : "unknown"}>`;
    case undefined:
      return "unknown";
    default:
      throw new Error(`no type for ${JSON.stringify(schema)}`);
  }
}

function fieldsOf(schema, indent) {
  const required = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const about = field.description ?? (field.anyOf ?? []).find((part) => part.description)?.description;
    return `${about ? comment(about, `${indent}  `) : ""}${indent}  ${name}${required.has(name) ? "" : "?"}: ${typeOf(field, `${indent}  `)};\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

function comment(text, indent) {
  const lines = text.replaceAll("``", "`").replaceAll("*/", "*\\/").split("\n").map((line) => line.trim());
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} *${line ? ` ${line}` : ""}\n`).join("")}${indent} */\n`;
}

/** The text of protocol.ts. */
export function generate(folder = schemas) {
  const files = readdirSync(folder).filter((file) => file.endsWith(".schema.json")).sort();
  const envelopes = files.map((file) => ({ name: pascal(file.replace(".schema.json", "").replace(".", "-")), schema: JSON.parse(readFileSync(join(folder, file), "utf8")) }));
  const version = new Set(envelopes.map(({ schema }) => /version (\d+)/.exec(schema.$comment)[1]));
  if (version.size !== 1) throw new Error(`several versions: ${[...version]}`);
  const shared = new Map();
  for (const { schema } of envelopes) {
    for (const [name, definition] of Object.entries(schema.$defs ?? {})) {
      if (!name.endsWith("Event")) shared.set(name, definition);
    }
  }
  const named = [...[...shared].map(([name, schema]) => ({ name, schema })), ...envelopes];
  const parts = named.map(({ name, schema }) => `${schema.description ? comment(schema.description, "") : ""}export interface ${name} ${fieldsOf(schema, "")}\n`);
  const union = (name, prefix) => `export type ${name} =\n${envelopes.filter((envelope) => envelope.name.startsWith(prefix) && envelope.name !== "ClientSimpleMessage").map((envelope) => `  | ${envelope.name}\n`).join("").trimEnd()};\n`;
  return [
    "// Made by scripts/types.mjs from docs/protocol; `npm run types` makes it again.\n",
    `export const SUBPROTOCOL = "csgate.v${[...version][0]}";\n`,
    ...parts,
    union("ClientEnvelope", "Client"),
    union("ServerEnvelope", "Server"),
  ].join("\n");
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const text = generate();
  if (!process.argv.includes("--check")) {
    writeFileSync(target, text);
  } else if (readFileSync(target, "utf8") !== text) {
    console.error("src/sdk/protocol.ts is stale; run npm run types");
    process.exit(1);
  }
}
