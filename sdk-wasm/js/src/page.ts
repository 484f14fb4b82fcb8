/**
 * A page's way to the server: it is opened with the page's context, which no address ever shows, and then followed by a stream
 * whose address carries a token of a few minutes. What the server says of a new token is for the next connection.
 */
import { utf8 } from "./encode.js";
import type { Ears, Link } from "./link.js";
import { listen, lossOf, LossError, notOurs, refusal } from "./link.js";

/** What the server says to an opened page; a renewal says the same without a frame. */
export interface Grant {
  stream: string;
  /** Where it takes what ended, and what went wrong inside; none, if the key takes none and the server is an older one. */
  outcomes?: string | null;
  /** Whether the key takes what ended. */
  takes_outcomes?: boolean;
  renew_in_ms?: number;
  now?: string | undefined;
  tag?: string;
  frame?: string | null;
}

/** How long a token is good for after its renewal was due. */
const RENEWED_EARLY_MS = 60_000;

export interface PageOptions {
  base: string;
  key: string;
  /** The page's context, as JSON. */
  context: string;
  fetch: typeof fetch;
  ears: Ears;
  /** The tag of the state that was kept, if any. */
  tag?: string;
  elapsed(): number;
  /** There is a new grant. */
  onGrant(grant: Grant): void;
}

/** What is asked here is for nobody to keep, and tells nobody more than it says. */
const PLAIN = { cache: "no-store", credentials: "omit" } as const;

export class PageLink implements Link {
  readonly #options: PageOptions;
  #grant: Grant | undefined;
  #goodUntil = 0;
  #tag: string | undefined;
  #open: AbortController | undefined;

  constructor(options: PageOptions) {
    this.#options = options;
    this.#tag = options.tag;
  }

  connect(resume: string | undefined): void {
    this.disconnect();
    const open = new AbortController();
    this.#open = open;
    const tell = (say: () => void) => {
      if (this.#open === open) say();
    };
    this.#follow(resume, open.signal, tell).catch((error: unknown) =>
      tell(() => {
        this.#open = undefined;
        this.#options.ears.lost(lossOf(error));
      }),
    );
  }

  disconnect(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.abort();
  }

  said(name: string, data: string): void {
    if (name !== "token") return;
    try {
      // A page that slept hears late what time it was.
      this.take({ ...(JSON.parse(data) as Grant), now: undefined });
    } catch {
      // The next token may be one.
    }
  }

  /** A grant by which to go on; another tab's, too. Whether it is one. */
  take(grant: Grant | undefined): boolean {
    if (typeof grant?.stream !== "string") return false;
    this.#grant = { ...grant, frame: null };
    this.#goodUntil = this.#options.elapsed() + (grant.renew_in_ms ?? 0) + RENEWED_EARLY_MS;
    // A renewal has none; what was said of the state that the page began with still holds.
    this.#tag = grant.tag || this.#tag;
    this.#options.onGrant(grant);
    return true;
  }

  close(): void {
    this.disconnect();
    this.#grant = undefined;
  }

  async #follow(resume: string | undefined, signal: AbortSignal, tell: (say: () => void) => void): Promise<never> {
    const { ears } = this.#options;
    const hear = (chunk: Uint8Array) => tell(() => ears.bytes(chunk));
    let seen = resume;
    if (this.#grant !== undefined && seen !== undefined && this.#options.elapsed() < this.#goodUntil) {
      const answer = await this.#stream(seen, signal);
      if (answer.status !== 410) {
        if (answer.status === 200) tell(() => ears.connected());
        return listen(answer, hear);
      }
      // The server forgot the page, or is another one than before: that is no refusal.
      void answer.body?.cancel().catch(() => {});
    }
    const frame = await this.#opened(seen === undefined ? undefined : this.#tag, signal);
    tell(() => ears.connected());
    if (frame) {
      seen = tokenOf(frame);
      hear(snapshotOf(frame));
    } else {
      hear(utf8.encode(": as before\n\n"));
    }
    return listen(await this.#stream(seen, signal), hear);
  }

  #stream(seen: string | undefined, signal: AbortSignal): Promise<Response> {
    const url = addressOf(this.#options.base, (this.#grant as Grant).stream);
    const address = seen === undefined ? url : `${url}&seen=${encodeURIComponent(seen)}`;
    // No header but this one: another would cost a question of the browser's before each connection.
    const headers = { accept: "text/event-stream" };
    return this.#options.fetch(address, { ...PLAIN, headers, signal });
  }

  /** Opens the page; the frame that it begins with, or none if what is here still holds. */
  async #opened(tag: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const { base, key, context } = this.#options;
    const body = `{"context":${context}${tag === undefined ? "" : `,"tag":${JSON.stringify(tag)}`}}`;
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await this.#options.fetch(`${base}/v1/page`, { ...PLAIN, method: "POST", headers, body, signal });
    if (answer.status !== 200) throw await refusal(answer);
    const grant = (await answer.json().catch(() => {})) as Grant | undefined;
    if (signal.aborted) throw new LossError({ kind: "ended" });
    if (!this.take(grant)) throw notOurs();
    return grant?.frame ?? undefined;
  }
}

/** An address that the server named from its root, which behind a proxy is below the base. */
export function addressOf(base: string, path: string): string {
  return `${base}/${path.replace(/^\//, "")}`;
}

/** A frame as a stream says it. */
export function snapshotOf(frame: string): Uint8Array {
  return utf8.encode(`event: snapshot\ndata: ${frame}\n\n`);
}

/** The resume token of a frame, without reading all of it. */
export function tokenOf(frame: string): string | undefined {
  const [log, revision] = momentOf(frame);
  return log && `${log}:${revision}`;
}

/** Whether a frame is of an earlier moment than another of the same log. */
export function isOlder(frame: string, than: string | undefined): boolean {
  const [log, revision] = momentOf(frame);
  const [thanLog, thanRevision] = momentOf(than);
  return log === thanLog && Number(revision) < Number(thanRevision);
}

function momentOf(frame = ""): string[] {
  return (/"log":"([^"]+)","revision":(\d+)/.exec(frame) ?? []).slice(1);
}
