/** Recorded exchanges (contracts/*.json) as a client sees them; contracts/README.md says what the files mean. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../../contracts");

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Fields = { [name: string]: Json };

export interface Exchange {
  about: string;
  replay: string[];
  given: { client?: { locale?: string; renews?: boolean; standby?: boolean; agent?: boolean } };
  steps: Fields[];
  events?: Json[];
}

export const load = (name: string): Exchange => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as Exchange;

/** Those that a client replays. */
export const names: string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length))
  .filter((name) => load(name).replay.includes("client"))
  .sort();

const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

function matcher(recorded: Json): [string, Json] | undefined {
  if (typeof recorded !== "object" || recorded === null || Array.isArray(recorded)) return undefined;
  const [only, ...others] = Object.entries(recorded);
  return only && others.length === 0 && only[0].startsWith("$") ? only : undefined;
}

/** What the variables of one exchange stand for. */
export class Values {
  readonly bound = new Map<string, Json>();

  /** What is sent for `recorded`: samples, and variables as far as they are bound. */
  play(recorded: Json): Json {
    const match = matcher(recorded);
    if (match) {
      const [name, sample] = match;
      if (name === "$var") {
        if (!this.bound.has(sample as string)) this.bound.set(sample as string, sample);
        return this.bound.get(sample as string) as Json;
      }
      if (name === "$repeat") return (sample as [string, number])[0].repeat((sample as [string, number])[1]);
      return sample;
    }
    if (Array.isArray(recorded)) return recorded.map((value) => this.play(value));
    if (typeof recorded === "object" && recorded !== null) return Object.fromEntries(Object.entries(recorded).map(([name, value]) => [name, this.play(value)]));
    return recorded;
  }

  /** Compares; objects may have more fields than were recorded. Raises where something is different, and says where. */
  check(recorded: Json, actual: unknown, path = "$"): void {
    const match = matcher(recorded);
    if (match) {
      if (!this.#fits(match, actual)) throw new Error(`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(recorded)}`);
    } else if (Array.isArray(recorded)) {
      if (!Array.isArray(actual) || actual.length !== recorded.length) throw new Error(`${path}: ${JSON.stringify(actual)} does not have ${recorded.length} items`);
      for (const [index, value] of recorded.entries()) this.check(value, actual[index], `${path}[${index}]`);
    } else if (typeof recorded === "object" && recorded !== null) {
      if (typeof actual !== "object" || actual === null) throw new Error(`${path}: ${JSON.stringify(actual)} is no object`);
      for (const [name, value] of Object.entries(recorded)) {
        const field = (actual as Record<string, unknown>)[name];
        if (field === undefined && matcher(value)?.[0] !== "$null") throw new Error(`${path}.${name} is missing in ${JSON.stringify(actual)}`);
        this.check(value, field, `${path}.${name}`);
      }
    } else if (recorded !== actual) throw new Error(`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(recorded)}`);
  }

  #fits([name, sample]: [string, Json], actual: unknown): boolean {
    switch (name) {
      case "$var":
        if (!this.bound.has(sample as string) && typeof actual === "string" && actual) this.bound.set(sample as string, actual);
        return actual === this.bound.get(sample as string);
      case "$timestamp":
        return typeof actual === "string" && TIMESTAMP.test(actual);
      case "$number":
        return typeof actual === "number";
      case "$string":
      case "$token":
        return typeof actual === "string" && actual !== "";
      case "$repeat":
        return actual === this.play({ [name]: sample });
      case "$object":
        return typeof actual === "object" && actual !== null && !Array.isArray(actual);
      case "$array":
        return Array.isArray(actual);
      case "$null":
        return actual === null || actual === undefined;
      default:
        throw new Error(`no matcher is called ${name}`);
    }
  }
}
