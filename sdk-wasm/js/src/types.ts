/** The words of the package: what an app hands in and gets back. */

/** A value that rules may look at. A `Date` is a moment; what is no JSON counts as not being there. */
export type Attribute =
  | null
  | boolean
  | number
  | string
  | Date
  | readonly Attribute[]
  | { readonly [name: string]: Attribute | undefined };

/** Who asks: the targeting key, by which units are split, and whatever else rules look at. */
export type Context = { readonly targetingKey?: string } & { readonly [name: string]: Attribute | undefined };

/** What is captured without a word of the app. */
export interface Capture {
  /** Uncaught errors and rejections; each ten seconds at most one. Default: yes. */
  errors?: boolean;
  /** Requests by `fetch` that fail or are answered with 500 and above. Default: yes. */
  fetches?: boolean;
  /** How long the page took to load. Default: yes. */
  timings?: boolean;
}

/** Where the last good state is kept. What it throws is passed over. */
export interface KeptState {
  get(name: string): string | null | Promise<string | null>;
  set(name: string, text: string): void | Promise<void>;
  remove(name: string): void | Promise<void>;
}

/** How a client is made. */
export interface Options {
  /** Where the server is, as in `https://flags.example.org`. */
  url: string;
  /** A token: `sdk-browser` in pages, `sdk-server` in servers. */
  key: string;
  /** For whom a page is open; a server's context where a check names none. */
  context?: Context;
  /** How long `start` waits for the server. Default: 300. */
  waitMs?: number;
  /** After how long a silence a stream is given up. Default: 45,000. */
  silenceMs?: number;
  /** After how long out of sight a page lets its stream go. Default: 10,000. */
  hiddenAfterMs?: number;
  /** Whether tabs of one origin share a stream. Default: yes. */
  shareTabs?: boolean;
  /** Where the last good state is kept: `localStorage` in pages, nowhere in servers, where `keptIn(folder)` makes one, if nothing is said. */
  storage?: KeptState | false;
  /** What is captured in pages without a word of the app, for all that was checked in them. Default: nothing. */
  capture?: boolean | Capture;
  /** The WebAssembly module, where it is not to be taken from beside this file. */
  wasm?: WebAssembly.Module | BufferSource | Response | URL | string;
  /** Does requests instead of the platform's `fetch`. */
  fetch?: typeof fetch;
  /** The name of this process among those that follow the feed. Default: drawn. */
  instance?: string;
}

/** Why a check answered its fallback. */
export type Problem =
  | "not_ready"
  | "flag_not_found"
  | "type_mismatch"
  | "invalid_context"
  | "other_context"
  | "internal";

/** Reasons in OpenFeature's words. */
export type Standard =
  | "STATIC"
  | "DEFAULT"
  | "TARGETING_MATCH"
  | "SPLIT"
  | "DISABLED"
  | "CACHED"
  | "STALE"
  | "UNKNOWN"
  | "ERROR";

/** An answer with the story behind it. */
export interface Detail<T> {
  value: T;
  variant?: string;
  /** Why: the server's word, `unconfirmed`, or `default` with an error. */
  reason: string;
  standard: Standard;
  revision?: number;
  split?: string;
  error?: Problem;
}

/** How a client stands with its server. Moments are milliseconds since 1970. */
export type Status =
  | { state: "starting" }
  | { state: "live"; revision: number }
  | { state: "cached"; savedAt: number; why?: string }
  | { state: "stale" | "offline"; since: number; why: string; unauthorized: boolean };

/** What changed. */
export interface Change {
  flags: readonly string[] | "all";
  killIds: readonly string[];
  revision: number;
}

/** Something inside went wrong; checks go on. */
export interface Fault {
  where: string;
  message: string;
}

/** How something ended. */
export interface Outcome {
  bad?: boolean;
  latencyMs?: number;
  costMicros?: number;
}

/** One request: what was checked in it counts for how it ends. */
export interface Scope {
  bool(key: string, fallback: boolean): boolean;
  string(key: string, fallback: string): string;
  number(key: string, fallback: number): number;
  json<T>(key: string, fallback: T): T;
  /** Says how it ended. What is said first counts. */
  finish(outcome?: Outcome): void;
}

/** Answers checks. None of its checks throws or waits. */
export interface Client {
  bool(key: string, context: Context | undefined, fallback: boolean): boolean;
  string(key: string, context: Context | undefined, fallback: string): string;
  number(key: string, context: Context | undefined, fallback: number): number;
  json<T>(key: string, context: Context | undefined, fallback: T): T;
  boolDetail(key: string, context: Context | undefined, fallback: boolean): Detail<boolean>;
  stringDetail(key: string, context: Context | undefined, fallback: string): Detail<string>;
  numberDetail(key: string, context: Context | undefined, fallback: number): Detail<number>;
  jsonDetail<T>(key: string, context: Context | undefined, fallback: T): Detail<T>;
  /** Opens the page for another context; done when its flags are in place, or after `waitMs`. */
  setContext(context: Context): Promise<void>;
  status(): Status;
  /**
   * Asks the server now, and tells it what is due, for runtimes that do no work in the background; done after `waitMs` at the
   * latest.
   */
  refresh(): Promise<void>;
  /** Tells what is still to be told, and lets go of everything; an open stream keeps a program running until then. */
  close(): Promise<void>;
  on(event: "change", run: (change: Change) => void): () => void;
  on(event: "status", run: (status: Status) => void): () => void;
  on(event: "error", run: (fault: Fault) => void): () => void;
  scope(context: Context): Scope;
  /**
   * Says that something ended, which in a page counts for the variants that were checked since the last call; in a server, where
   * nobody knows whose it is, use `scope`. `value` is for OpenFeature's sake, and is not told.
   */
  track(name: string, details?: Outcome & { value?: number }): void;
}
