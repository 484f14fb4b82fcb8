/** A server's way to the server: the feed with the rules, and acknowledgements of what is served. */
import type { Acks } from "./acks.js";
import { SDK } from "./built.js";
import type { Ears, Link } from "./link.js";
import { listen, lossOf } from "./link.js";

export interface FeedOptions {
  base: string;
  key: string;
  instance: string;
  fetch: typeof fetch;
  ears: Ears;
  acks: Acks;
}

export class FeedLink implements Link {
  readonly #options: FeedOptions;
  #open: AbortController | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  connect(resume: string | undefined): void {
    this.disconnect();
    const open = new AbortController();
    this.#open = open;
    this.#follow(resume, open).catch((error: unknown) => {
      if (this.#open !== open) return;
      this.#open = undefined;
      this.#options.ears.lost(lossOf(error));
    });
  }

  disconnect(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.abort();
  }

  ack(revision: number, killIds: string[]): void {
    this.#options.acks.add(revision, killIds);
  }

  close(): void {
    this.disconnect();
  }

  async #follow(resume: string | undefined, open: AbortController): Promise<never> {
    const { base, key, instance, fetch, ears } = this.#options;
    const url = `${base}/v1/feed?instance=${encodeURIComponent(instance)}&sdk=${encodeURIComponent(SDK)}`;
    const headers: Record<string, string> = { accept: "text/event-stream", authorization: `Bearer ${key}` };
    if (resume !== undefined) headers["last-event-id"] = resume;
    const answer = await fetch(url, { headers, signal: open.signal });
    const stands = () => this.#open === open;
    if (answer.status === 200 && stands()) ears.connected();
    return listen(answer, (chunk) => stands() && ears.bytes(chunk));
  }
}
