/**
 * What became of what was done in a page, for the variants that it was served: gathered for ten seconds, told in one batch, and
 * told by beacon when the page goes out of sight, since it may never come back.
 */
import { utf8 } from "./encode.js";
import type { Fault, Outcome } from "./types.js";
import { later } from "./timer.js";
import type { Timer } from "./timer.js";

/** Outcomes within this time are told together. */
export const SLOT_MS = 10_000;
/** Most that a server takes of a page within a slot; the rest is left out. */
const MOST_ENDED = 64;
/** Most flags that one outcome counts for. */
const MOST_FLAGS = 64;
/** As many places as a server takes at once. */
const MOST_FAULTS = 8;
const LONGEST_TEXT = 200;
/** Browsers send little more for a page that is gone. */
const MOST_BYTES = 60_000;
/** What the loading of a page is called. */
export const LOAD = "load";
/** A slot is told up to so much after its end, so that not all pages tell at once. */
const JITTER_MS = 1_000;

/** A variant that was served, and by which split. */
export interface ServedFlag {
  key: string;
  revision: number;
  variant: string;
  split: string;
}

/** As it is sent. */
export interface Ended {
  name: string;
  bad: boolean;
  latency_us?: number;
  cost_micros: number;
  flags: ServedFlag[];
}

export interface OutcomeOptions {
  /** Where they are told; nowhere, as long as the server has not said. */
  address(): string | undefined;
  /** Hands them to a tab that tells the server; false: this one does. */
  forward(items: unknown[]): boolean;
  /** What was checked since the page was opened, or what was since the last call for that. */
  served(all: boolean): ServedFlag[];
  fetch: typeof fetch;
  beacon: ((url: string, text: string) => boolean) | undefined;
  sdk: string;
  random(): number;
}

export class Outcomes {
  /** Whether the server takes what ended; what goes wrong inside it always takes. */
  takes = true;
  readonly #options: OutcomeOptions;
  #ended: Ended[] = [];
  #faults = new Map<string, { where: string; sdk: string; count: number }>();
  #timer: Timer;
  /** How the page loaded, if no flag was checked before. */
  #load: Outcome | undefined;

  constructor(options: OutcomeOptions) {
    this.#options = options;
  }

  /** The page noticed that something ended. Nobody knows what had a part in it: it counts for all that was checked. */
  noticed(name: string, outcome: Outcome): void {
    this.end(name, outcome, this.#options.served(true));
  }

  /** Something ended, for what was served in it; if that is not said, for all that was checked since the last such end. */
  end(name: string, outcome: Outcome, served = this.#options.served(false)): void {
    const flags = served.slice(0, MOST_FLAGS);
    if (flags.length === 0) {
      // What no variant had a part in says nothing about any. A page has loaded before it asks for its first flag, though.
      if (name !== LOAD) return;
      this.#load = outcome;
      return this.#plan();
    }
    this.#loaded();
    const ended: Ended = {
      name: String(name).slice(0, LONGEST_TEXT),
      bad: outcome.bad === true,
      cost_micros: whole(outcome.costMicros),
      flags,
    };
    if (outcome.latencyMs !== undefined) ended.latency_us = whole(outcome.latencyMs * 1_000);
    this.add([ended]);
  }

  /** What ended here, or in a tab that does not tell by itself. */
  add(items: unknown[]): void {
    for (const item of items) if (this.#ended.length < MOST_ENDED) this.#ended.push(item as Ended);
    this.#plan();
  }

  /** Something went wrong inside. */
  fault({ where }: Fault): void {
    const place = where.slice(0, LONGEST_TEXT);
    const known = this.#faults.get(place);
    if (known !== undefined) known.count++;
    else if (this.#faults.size < MOST_FAULTS) this.#faults.set(place, { where: place, sdk: this.#options.sdk, count: 1 });
    this.#plan();
  }

  /** Tells what there is; `leaving`: by beacon, since nobody may be here to hear the answer. */
  flush(leaving: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#loaded();
    const { address, forward, beacon, fetch } = this.#options;
    if (!this.takes) this.#ended = [];
    // Who leaves may be the last who hears what it says.
    if (!leaving && this.#faults.size === 0 && forward(this.#ended)) this.#ended = [];
    const url = address();
    // Without a page nobody knows whose outcomes they are; they wait.
    while (url !== undefined && this.#ended.length + this.#faults.size > 0) {
      const body = this.#piece(leaving ? MOST_BYTES : Infinity);
      if (leaving && beacon?.(url, body)) continue;
      // As plain text, for which no browser asks first.
      // Not told is lost: a second try would come after the slot's grace.
      fetch(url, { method: "POST", body, keepalive: leaving }).then(
        (answer) => void answer.body?.cancel().catch(() => {}),
        () => {},
      );
    }
  }

  /** Takes out as much as fits one request of so many bytes. */
  #piece(most: number): string {
    const faults = [...this.#faults.values()];
    this.#faults.clear();
    for (let many = this.#ended.length; ; many >>= 1) {
      const body = JSON.stringify({ ended: this.#ended.slice(0, many), faults });
      if (many > 1 && utf8.encode(body).length > most) continue;
      this.#ended.splice(0, many);
      return body;
    }
  }

  close(): void {
    this.flush(true);
    clearTimeout(this.#timer);
  }

  #loaded(): void {
    const load = this.#load;
    this.#load = undefined;
    if (load !== undefined) this.noticed(LOAD, load);
  }

  #plan(): void {
    if (this.#timer !== undefined) return;
    this.#timer = later(() => this.flush(false), SLOT_MS + JITTER_MS * this.#options.random());
  }
}

/** A number as servers take it: whole, and not below zero. */
export function whole(number: number | undefined): number {
  const found = Math.round(number ?? 0);
  return Number.isSafeInteger(found) && found > 0 ? found : 0;
}
