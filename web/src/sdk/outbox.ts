/** Own messages from being written to being answered: which one is sent when, over which connection, in which form. */
import type { Backoff } from "./backoff.js";
import { frameOf } from "./frame.js";
import type { Link } from "./link.js";
import type { ServerError } from "./protocol.js";
import type { Item, Store } from "./store.js";
import { randomId, type Tabs } from "./tabs.js";
import type { Failure, OwnMessage } from "./types.js";
import { UploadFailed, upload } from "./upload.js";

/** Where the outbox lives. */
export interface OutboxDesk {
  /** The connection in use, if there is one. */
  link(): Link | undefined;
  limits(): Readonly<Record<string, number>>;
  /** The newest offset. */
  offset(): number;
  /** An own message is new or has changed. */
  show(entry: OwnMessage, after: number): void;
  hide(id: string): void;
  /** An address at which a picture can be seen until the page is closed. */
  pictureUrl(item: Item): string | undefined;
}

interface Job {
  item: Item;
  /** The store has it, and its picture is as it will be sent. */
  ready: boolean;
  sentOn?: Link | undefined;
  refusals: number;
  /** Milliseconds since 1970, and how long that was then. */
  notBefore: number;
  delay: number;
  progress?: number;
  uploading?: AbortController | undefined;
  uploadedAgain?: boolean;
}

export const MAX_JOBS = 64;
const MAX_JOB_BYTES = 64 * 1024 * 1024;
const MAX_REFUSALS = 10;
const MAX_DOUBLINGS = 4;
/** Messages that ended in an error and can be asked again. */
const MAX_ENDED = 16;

const RETRYABLE: readonly string[] = ["rate_limited", "overloaded", "timeout", "engine_unavailable", "internal", "network", "not_found", "unauthorized", "expired"];

export const failureOf = (error: Pick<ServerError, "code" | "message" | "retry_after">): Failure => ({
  code: error.code,
  text: error.message,
  retryable: RETRYABLE.includes(error.code),
  ...(typeof error.retry_after === "number" ? { retryAfter: error.retry_after } : {}),
});

/**
 * One message at a time is on its way, so that they arrive in the order in which they were written whatever happens. Each
 * is kept until its final event, not only until its ack: a log that is lost takes acknowledged messages with it.
 */
export class Outbox {
  readonly #jobs = new Map<string, Job>();
  readonly #ended = new Map<string, Item>();
  /** What has an answer, while it may still be being read from the store. */
  readonly #finished = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #held = false;
  #last = 0;

  constructor(
    readonly desk: OutboxDesk,
    readonly store: Store,
    readonly tabs: Tabs,
    readonly scope: string,
    readonly backoff: Backoff,
    readonly place: (signal: AbortSignal, progress: (share: number) => void) => Parameters<typeof upload>[1],
  ) {}

  // --- what a person does ----------------------------------------------------------------------------------------------

  get full(): boolean {
    let bytes = 0;
    for (const { item } of this.#jobs.values()) bytes += item.picture?.bytes.byteLength ?? 0;
    return this.#jobs.size >= MAX_JOBS || bytes > MAX_JOB_BYTES;
  }

  /** A new item, later than all before it. */
  create(id: string, text: string): Item {
    this.#last = Math.max(Date.now(), this.#last + 1);
    return { id, scope: this.scope, owner: this.tabs.id, text, at: this.#last, after: this.desk.offset() };
  }

  /** Shows a message that is being made ready; those after it wait for it. */
  add(item: Item): void {
    this.#jobs.set(item.id, { item, ready: false, refusals: 0, notBefore: 0, delay: 0 });
    this.#show(item.id);
  }

  /** It can be sent now; resolves when it would survive the page. */
  async commit(item: Item): Promise<void> {
    const job = this.#jobs.get(item.id);
    if (!job) return; // withdrawn meanwhile
    job.item = item;
    await this.store.put(item);
    if (!this.#jobs.has(item.id)) return this.store.drop(item.id);
    job.ready = true;
    this.#show(item.id);
    this.pump();
  }

  /** Fails a message before it was ever sent. */
  async spoil(id: string, failure: Failure): Promise<void> {
    const job = this.#jobs.get(id);
    if (!job) return;
    job.ready = true;
    await this.#fail(job, failure);
  }

  /** Sends a failed message again, whichever tab wrote it. Returns false where it is not there, or not failed. */
  async retry(id: string): Promise<boolean> {
    const item = this.#jobs.get(id)?.item ?? (await this.store.items(this.scope)).find((one) => one.id === id);
    if (!item?.failed) return false;
    const { failed, ...rest } = item;
    // An id that is taken cannot be used again; nor can a place in the order.
    const again = { ...rest, ...this.create(failed.code === "duplicate_mismatch" ? randomId() : id, rest.text) };
    if (again.id !== id) this.discard(id);
    this.#jobs.delete(id);
    this.desk.hide(id);
    this.add(again);
    await this.commit(again);
    return true;
  }

  /** What ended in an error, to be asked once more as a new message. */
  takeEnded(id: string): Item | undefined {
    const item = this.#ended.get(id);
    this.#ended.delete(id);
    return item;
  }

  discard(id: string): void {
    this.#jobs.get(id)?.uploading?.abort();
    this.#jobs.delete(id);
    this.#forget(id);
    this.tabs.tell({ drop: id });
    this.desk.hide(id);
    this.pump();
  }

  /** Another tab has withdrawn it, or it has its answer. */
  dropped(id: string): void {
    this.#jobs.get(id)?.uploading?.abort();
    this.#jobs.delete(id);
    this.desk.hide(id);
    this.pump();
  }

  /** Asks to stop answering; again on a new connection, until there is an end. */
  cancel(id: string): void {
    const job = this.#jobs.get(id);
    if (job && !job.item.acked && !job.sentOn) return this.discard(id);
    if (job && !job.item.cancelled) {
      job.item.cancelled = true;
      void this.store.put(job.item);
    }
    this.desk.link()?.send({ type: "cancel", id });
  }

  async clear(): Promise<void> {
    const items = await this.store.items(this.scope);
    for (const id of new Set([...this.#jobs.keys(), ...items.map((item) => item.id)])) this.discard(id);
    this.#ended.clear();
  }

  // --- from another page -----------------------------------------------------------------------------------------------

  /** What is in the store: that of tabs that are gone is sent from here. */
  async load(): Promise<void> {
    for (const item of await this.store.items(this.scope)) {
      if (this.#jobs.has(item.id)) continue;
      this.mirror(item, true);
    }
  }

  /** Shows what another tab sends, and takes over should that tab be gone; `left`: by a page before this one. */
  mirror(item: Item, left = false): void {
    this.#jobs.delete(item.id); // it may have been this tab's
    this.#last = Math.max(this.#last, item.at);
    this.desk.show(this.#view({ item, ready: true, refusals: 0, notBefore: 0, delay: 0 }), item.after);
    if (left || this.tabs.locks) this.tabs.watch(item.owner, () => this.#adopt(item.owner));
  }

  async #adopt(owner: string): Promise<void> {
    for (const item of await this.store.items(this.scope)) {
      if (item.owner !== owner) continue;
      item.owner = this.tabs.id;
      await this.store.put(item);
      if (this.#finished.has(item.id)) {
        await this.store.drop(item.id);
        continue;
      }
      this.#jobs.set(item.id, { item, ready: true, refusals: 0, notBefore: 0, delay: 0 });
      this.#show(item.id);
    }
    this.activate(undefined);
    this.pump();
  }

  // --- connections -----------------------------------------------------------------------------------------------------

  /** A new connection is in use, whose log is `epoch`; `hold`: what was missed comes first. */
  activate(epoch: string | undefined, hold = false): void {
    const log = epoch ?? this.desk.link()?.welcome?.epoch;
    for (const job of this.#mine()) {
      if (job.item.acked && log !== undefined && job.item.acked !== log) {
        const { acked: _, ...item } = job.item;
        job.item = item;
      }
      if (job.item.acked && job.item.cancelled) this.desk.link()?.send({ type: "cancel", id: job.item.id });
      if (!job.item.acked && epoch !== undefined) job.sentOn = undefined;
      this.#show(job.item.id);
    }
    if (epoch === undefined) return;
    this.#held = hold;
    clearTimeout(this.#timer);
    if (hold) this.#timer = setTimeout(() => this.resume(), 300);
    else this.pump();
  }

  /** What was missed has come. `old`: whether a message is older than the page that came instead of the whole log. */
  resume(old: (id: string) => boolean = () => false): void {
    this.#held = false;
    for (const { item } of this.#mine()) if (item.acked && old(item.id)) this.finish(item.id, false); // it has been answered
    this.pump();
  }

  /** There is no connection. */
  detach(): void {
    for (const job of this.#mine()) {
      job.uploading?.abort();
      job.uploading = job.sentOn = undefined;
      this.#show(job.item.id);
    }
  }

  /** Whether something is on its way and not acknowledged. */
  expectsAck(link: Link): boolean {
    return this.#mine().some((job) => job.sentOn === link && !job.item.acked);
  }

  /** Whether nothing acknowledged waits for its answer. */
  get idle(): boolean {
    return !this.#mine().some(({ item }) => item.acked);
  }

  acknowledged(id: string, epoch: string | undefined): void {
    const job = this.#jobs.get(id);
    if (!job || job.item.acked) return;
    job.item.acked = epoch ?? "";
    void this.store.put(job.item);
    // What was sent a second time is stopped a second time.
    if (job.item.cancelled) this.desk.link()?.send({ type: "cancel", id });
    this.pump();
  }

  /** There is a final event. */
  finish(id: string, failed: boolean): void {
    const job = this.#jobs.get(id);
    this.#jobs.delete(id);
    if (failed && job) {
      this.#ended.set(id, job.item);
      if (this.#ended.size > MAX_ENDED) this.#ended.delete(this.#ended.keys().next().value as string);
    }
    this.#forget(id);
    this.pump();
  }

  /** An error that is not in the log. Returns whether the message is sent again, so that there is nothing to tell. */
  refused(error: ServerError): boolean {
    // One that came before its message could be read does not name it; only one is on its way.
    const job = error.id ? this.#jobs.get(error.id) : error.code === "too_large" || error.code === "bad_json" ? this.#mine().find((one) => one.sentOn && !one.item.acked) : undefined;
    if (!job || job.item.acked) return false;
    job.sentOn = undefined;
    if (typeof error.retry_after === "number" && job.refusals < MAX_REFUSALS) {
      // A node may refuse for as long as it drains: half a minute is more than ten times its second.
      this.#later(job, error.retry_after);
      this.#show(job.item.id);
      this.pump();
      return true;
    }
    if (error.code === "not_found" && job.item.picture?.upload && !job.uploadedAgain) {
      job.uploadedAgain = true; // its time has run out
      delete job.item.picture.upload;
      this.pump();
      return true;
    }
    void this.#fail(job, failureOf(error));
    return false;
  }

  /** Fails what was on its way when a connection ended by our fault. Returns whether there was something. */
  blame(failure: Failure): boolean {
    const job = this.#mine().find((one) => one.sentOn && !one.item.acked);
    if (job) void this.#fail(job, failure);
    return job !== undefined;
  }

  /** Sends what can be sent. */
  pump(): void {
    const link = this.desk.link();
    if (!link?.ready || this.#held) return;
    for (const job of this.#mine()) {
      if (job.item.acked || job.item.failed) continue;
      if (!job.ready || job.sentOn === link || job.uploading) return;
      const wait = job.notBefore - Date.now();
      if (wait > 0) {
        clearTimeout(this.#timer);
        // Not longer than was meant, should the clock be set back.
        this.#timer = setTimeout(
          () => {
            job.notBefore = 0;
            this.pump();
          },
          Math.min(wait, job.delay),
        );
        return;
      }
      const frame = frameOf(job.item, this.desk.limits());
      if (typeof frame === "object" && "code" in frame) {
        void this.#fail(job, frame);
        return; // which pumps again
      }
      if (frame === undefined) return void this.#upload(job);
      job.sentOn = link;
      this.#show(job.item.id);
      link.sendRaw(frame);
      return;
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    for (const job of this.#jobs.values()) job.uploading?.abort();
  }

  // --- inner -----------------------------------------------------------------------------------------------------------

  /** In the order in which they were written. */
  #mine(): Job[] {
    return [...this.#jobs.values()].sort((one, other) => one.item.at - other.item.at);
  }

  async #upload(job: Job): Promise<void> {
    const { picture } = job.item;
    if (!picture) return;
    const stop = new AbortController();
    job.uploading = stop;
    job.progress = 0;
    this.#show(job.item.id);
    try {
      picture.upload = await upload(
        picture,
        this.place(stop.signal, (share) => {
          job.progress = share;
          this.#show(job.item.id);
        }),
      );
      if (stop.signal.aborted) return;
      job.uploading = undefined;
      await this.store.put(job.item);
      this.pump();
    } catch (error) {
      if (stop.signal.aborted) return;
      job.uploading = undefined;
      const failure: Failure = error instanceof UploadFailed ? error.failure : { code: "network", text: String(error), retryable: true };
      if (!failure.retryable || job.refusals >= MAX_REFUSALS) return void this.#fail(job, failure);
      this.#later(job, failure.retryAfter ?? 1);
      this.#show(job.item.id);
      this.pump();
    }
  }

  #forget(id: string): void {
    this.#finished.add(id);
    if (this.#finished.size > MAX_JOBS) this.#finished.delete(this.#finished.values().next().value as string);
    void this.store.drop(id);
  }

  /** After at least `seconds`, more with each refusal. */
  #later(job: Job, seconds: number): void {
    job.delay = this.backoff.spread(seconds * 1000 * 2 ** Math.min(job.refusals++, MAX_DOUBLINGS));
    job.notBefore = Date.now() + job.delay;
  }

  async #fail(job: Job, failure: Failure): Promise<void> {
    job.item.failed = failure;
    job.sentOn = undefined;
    this.#show(job.item.id);
    await this.store.put(job.item);
    this.pump();
  }

  #show(id: string): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    const entry = this.#view(job);
    this.desk.show(entry, job.item.after);
    // Other tabs need to know that it is there, and how it stands; not each percent.
    if (job.ready && (job.progress ?? 1) >= 1) {
      const { picture: _, ...told } = entry;
      this.tabs.tell({ put: told, after: job.item.after, owner: job.item.owner, scope: this.scope });
    }
  }

  #view({ item, sentOn, uploading, progress }: Job): OwnMessage {
    const url = this.desk.pictureUrl(item);
    return {
      kind: "own",
      id: item.id,
      text: item.text,
      at: item.at,
      state: item.failed ? "failed" : uploading ? "uploading" : sentOn ? "sending" : "queued",
      ...(url && item.picture ? { picture: { url, ...(item.picture.width ? { width: item.picture.width, height: item.picture.height } : {}) } } : {}),
      ...(uploading && progress !== undefined ? { progress } : {}),
      ...(item.failed ? { error: item.failed } : {}),
    };
  }
}
