import { type Address, parseAddress } from "./address.js";

const MAX_LEARNED = 32;

/**
 * The addresses of the gateway in order of preference: those that were given, and those that a welcome has named. One of
 * them is current; after a failure it is the next one, in a circle.
 */
export class Roster {
  #all: Address[] = [];
  #given: number;
  #at = 0;
  #failed = new Set<string>();

  constructor(urls: readonly string[]) {
    for (const url of urls) {
      const address = parseAddress(url);
      if (!address) throw new TypeError(`"${url}" is not the address of a gateway; write wss://chat.example.com/ws, say.`);
      this.#add(address);
    }
    this.#given = this.#all.length;
    if (!this.#given) throw new TypeError("The address of a gateway is needed, such as wss://chat.example.com/ws.");
  }

  get size(): number {
    return this.#all.length;
  }

  /** The first: where a client wants to be. */
  get home(): Address {
    return this.#all[0] as Address;
  }

  get current(): Address {
    return this.#all[this.#at] as Address;
  }

  get all(): readonly Address[] {
    return this.#all;
  }

  /** There is a connection to `address`: it is the current one, and a new round begins. */
  arrived(address: Address): void {
    this.#at = Math.max(0, this.#index(address));
    this.#failed.clear();
  }

  /** Goes on to the next one. Returns whether all have failed by now, which begins a new round. */
  failed(address: Address): boolean {
    this.#at = (this.#index(address) + 1) % this.#all.length;
    this.#failed.add(address.socket);
    const exhausted = this.#all.every((one) => this.#failed.has(one.socket));
    if (exhausted) this.#failed.clear();
    return exhausted;
  }

  /**
   * Adds what a welcome names, in place of what earlier ones named. A token must not leave the protection that it was
   * given under: nodes without TLS are passed over where the first address has it.
   */
  learn(nodes: readonly string[]): void {
    const current = this.current;
    const secure = this.home.socket.startsWith("wss:");
    this.#all.length = this.#given;
    for (const node of nodes.slice(0, MAX_LEARNED)) {
      const address = parseAddress(node);
      if (address && (!secure || address.socket.startsWith("wss:"))) this.#add(address);
    }
    this.#add(current); // in use, named or not
    this.#at = this.#index(current);
  }

  #add(address: Address): void {
    if (this.#index(address) < 0) this.#all.push(address);
  }

  #index(address: Address): number {
    return this.#all.findIndex((one) => one.socket === address.socket);
  }
}
