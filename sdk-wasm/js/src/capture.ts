/**
 * What a page notices without a word of the app: errors that nobody caught, requests that fail, and how long the page took to
 * load. Everything goes on as it would without.
 */
import type { PageAround } from "./around.js";
import { LOAD, SLOT_MS } from "./outcomes.js";
import type { Capture, Outcome } from "./types.js";

export interface CaptureOptions {
  wanted: boolean | Capture | undefined;
  /** Where the server is: what a page asks of it is the client's own. */
  base: string;
  end(name: string, outcome: Outcome): void;
  elapsed(): number;
  /** The page, as far as it is listened to; another one in tests. */
  page: PageAround;
}

/** Begins to notice; the answer ends it. */
export function capture(options: CaptureOptions): () => void {
  const { wanted, page } = options;
  if (!wanted) return () => {};
  // Of a mere yes there are no kinds: all are wanted.
  const kinds = wanted as Capture;
  const until = new AbortController();
  const on = (event: string, run: () => void) => page.addEventListener(event, run, until);
  if (kinds.errors !== false) {
    const error = seldom(options, () => options.end("error", { bad: true }));
    on("error", error);
    on("unhandledrejection", error);
  }
  const unwrap = kinds.fetches === false ? () => {} : wrapFetch(options);
  if (kinds.timings !== false) {
    const timing = () => setTimeout(() => load(options), 0);
    if (page.document.readyState === "complete") timing();
    else on("load", timing);
  }
  return () => {
    until.abort();
    unwrap();
  };
}

/** At most once a slot: one broken loop is one thing that went wrong. */
function seldom(options: CaptureOptions, run: () => void): () => void {
  let next = -Infinity;
  return () => {
    const now = options.elapsed();
    if (now < next) return;
    next = now + SLOT_MS;
    run();
  };
}

function wrapFetch({ page, base, end, elapsed }: CaptureOptions): () => void {
  const before = page.fetch;
  const wrapped: typeof fetch = function (this: unknown, ...request) {
    const began = elapsed();
    const answer = before.apply(this === undefined ? page : this, request) as Promise<Response>;
    const signal = request[1]?.signal ?? (request[0] as Partial<Request> | undefined)?.signal;
    if (!isOwn(request[0], base)) {
      const failed = () => end("fetch", { bad: true, latencyMs: elapsed() - began });
      // Whoever wrapped it before may answer at once.
      Promise.resolve(answer).then(
        ({ status }) => status >= 500 && failed(),
        // Who aborts a request wanted it so.
        (error: { name?: string }) => error?.name !== "AbortError" && !signal?.aborted && failed(),
      );
    }
    return answer;
  };
  page.fetch = wrapped;
  return () => {
    // Another one may have wrapped it since; theirs calls this one, which then only hands on.
    if (page.fetch === wrapped) page.fetch = before;
  };
}

function isOwn(request: unknown, base: string): boolean {
  try {
    const url = (request as { url?: unknown }).url ?? request;
    return new URL(String(url), globalThis.document?.baseURI).href.startsWith(`${base}/v1/page`);
  } catch {
    return false;
  }
}

function load({ page, end }: CaptureOptions): void {
  const timing = page.performance?.getEntriesByType?.("navigation")[0] as { loadEventEnd?: number } | undefined;
  const latencyMs = timing?.loadEventEnd ?? 0;
  if (latencyMs > 0) end(LOAD, { bad: false, latencyMs });
}
