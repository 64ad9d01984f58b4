/** Where things survive a reload: own messages that have no answer yet, and a few values. */
import type { Failure } from "./types.js";

/** An own message, from the moment it is written until it has its answer. */
export interface Item {
  readonly id: string;
  /** Whose it is (one browser may see several customers): see `Identity` in tokens.ts. */
  readonly scope: string;
  /** The tab that sends it. */
  owner: string;
  readonly text: string;
  /** Milliseconds since 1970; later than that of any message written before. */
  readonly at: number;
  /** The newest offset of the conversation when it was written. */
  readonly after: number;
  picture?: StoredPicture;
  /** The log in which the gateway has it. */
  acked?: string;
  cancelled?: boolean;
  failed?: Failure;
}

export interface StoredPicture {
  /** Not a Blob: some browsers cannot keep those. */
  readonly bytes: ArrayBuffer;
  readonly type: string;
  readonly width: number;
  readonly height: number;
  /** How it was sent: a message that is sent again has to be the same. */
  form?: "inline" | "upload";
  /** The name that an upload was given. */
  upload?: string;
}

export interface Store {
  items(scope: string): Promise<Item[]>;
  put(item: Item): Promise<void>;
  drop(id: string): Promise<void>;
  get<T>(key: string): Promise<T | undefined>;
  /** Undefined forgets. */
  set(key: string, value: unknown): Promise<void>;
  /** Sets `key` if it still is what `change` is given, in one step; returns what it is then. */
  update<T>(key: string, change: (value: T | undefined) => T | undefined): Promise<T | undefined>;
  close(): void;
}

/** Forgets with the page. */
export class MemoryStore implements Store {
  readonly #items = new Map<string, Item>();
  readonly #values = new Map<string, unknown>();

  async items(scope: string): Promise<Item[]> {
    return [...this.#items.values()].filter((item) => item.scope === scope).sort(byTime);
  }
  async put(item: Item): Promise<void> {
    this.#items.set(item.id, { ...item });
  }
  async drop(id: string): Promise<void> {
    this.#items.delete(id);
  }
  async get<T>(key: string): Promise<T | undefined> {
    return this.#values.get(key) as T | undefined;
  }
  async set(key: string, value: unknown): Promise<void> {
    this.#values.set(key, value);
  }
  async update<T>(key: string, change: (value: T | undefined) => T | undefined): Promise<T | undefined> {
    const value = change(this.#values.get(key) as T | undefined);
    this.#values.set(key, value);
    return value;
  }
  close(): void {}
}

const byTime = (one: Item, other: Item): number => one.at - other.at;

const ITEMS = "items";
const VALUES = "values";
/** A browser that never answers (it has been seen) must not keep anybody from chatting. */
const PATIENCE_MS = 3_000;

class BrowserStore implements Store {
  constructor(readonly db: IDBDatabase) {}

  async items(scope: string): Promise<Item[]> {
    const items = await this.#run<Item[]>(ITEMS, "readonly", (store) => store.getAll());
    return items.filter((item) => item.scope === scope).sort(byTime);
  }
  async put(item: Item): Promise<void> {
    await this.#run(ITEMS, "readwrite", (store) => store.put(item));
  }
  async drop(id: string): Promise<void> {
    await this.#run(ITEMS, "readwrite", (store) => store.delete(id));
  }
  get<T>(key: string): Promise<T | undefined> {
    return this.#run(VALUES, "readonly", (store) => store.get(key));
  }
  async set(key: string, value: unknown): Promise<void> {
    await this.#run(VALUES, "readwrite", (store) => (value === undefined ? store.delete(key) : store.put(value, key)));
  }
  async update<T>(key: string, change: (value: T | undefined) => T | undefined): Promise<T | undefined> {
    let value: T | undefined;
    await this.#run(VALUES, "readwrite", (store) => {
      const read = store.get(key);
      read.onsuccess = () => {
        value = change(read.result as T | undefined);
        if (value === undefined) store.delete(key);
        else store.put(value, key);
      };
      return read;
    });
    return value;
  }
  close(): void {
    this.db.close();
  }

  /** Resolves when the transaction is through, not before. */
  #run<T>(name: string, mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    return new Promise((resolve, reject) => {
      const transaction = this.db.transaction(name, mode);
      const request = work(transaction.objectStore(name));
      const timer = setTimeout(() => reject(new Error("the database does not answer")), PATIENCE_MS);
      transaction.oncomplete = () => {
        clearTimeout(timer);
        resolve(request.result as T);
      };
      transaction.onabort = transaction.onerror = () => {
        clearTimeout(timer);
        reject(transaction.error ?? request.error);
      };
    });
  }
}

/** What a browser does not let us keep is kept in memory: chatting goes on, a reload forgets. */
class Forgiving implements Store {
  readonly #memory = new MemoryStore();

  constructor(readonly inner: Store) {}

  async items(scope: string): Promise<Item[]> {
    const kept = await this.inner.items(scope).catch(() => []);
    const ids = new Set(kept.map((item) => item.id));
    return [...kept, ...(await this.#memory.items(scope)).filter((item) => !ids.has(item.id))].sort(byTime);
  }
  put(item: Item): Promise<void> {
    return this.inner.put(item).catch(() => this.#memory.put(item));
  }
  async drop(id: string): Promise<void> {
    await this.#memory.drop(id);
    await this.inner.drop(id).catch(() => {});
  }
  async get<T>(key: string): Promise<T | undefined> {
    return (await this.inner.get<T>(key).catch(() => undefined)) ?? this.#memory.get<T>(key);
  }
  async set(key: string, value: unknown): Promise<void> {
    await this.#memory.set(key, undefined);
    await this.inner.set(key, value).catch(() => this.#memory.set(key, value));
  }
  update<T>(key: string, change: (value: T | undefined) => T | undefined): Promise<T | undefined> {
    return this.inner.update(key, change).catch(() => this.#memory.update(key, change));
  }
  close(): void {
    this.inner.close();
  }
}

/** The database of that name; memory where there is none to be had, or `name` is null. */
export async function openStore(name: string | null): Promise<Store> {
  if (name === null) return new MemoryStore();
  try {
    return new Forgiving(new BrowserStore(await open(name)));
  } catch {
    return new MemoryStore();
  }
}

function open(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the database does not open")), PATIENCE_MS);
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(ITEMS, { keyPath: "id" });
      request.result.createObjectStore(VALUES);
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      // Another page wants to delete or change it.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => {
      clearTimeout(timer);
      reject(request.error);
    };
  });
}
