/**
 * The flags, and how a check is answered: from the last answer where that still holds, else by the module.
 */
import type { Clock } from "./clock.js";
import type { DetailRow } from "./core.js";
import { INBOX_BYTES, NO_FLAG } from "./core.js";
import type { PageContext } from "./context.js";
import { ContextRefused, Encoder } from "./encode.js";
import { Entry } from "./entry.js";
import type { Core } from "./guard.js";
import type { ServedFlag } from "./outcomes.js";
import { REFUSED } from "./guard.js";
import type { Context, Problem } from "./types.js";

export interface TableOptions {
  clock: Clock;
  /** The context of checks that name none. */
  context: PageContext;
  /** Whether answers that came as values hold for that context only, as in pages. */
  isPage: boolean;
}

export class Table {
  readonly #core: Core;
  readonly #options: TableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;
  readonly #encoder = new Encoder();
  readonly #own: Context;
  /** Grows with all that may change an answer. */
  #epoch = 0;
  #settledUntil = 0;
  #settledFrom = 0;
  /** Whether a flag was ever in the table, or could have been. */
  #filled = false;
  /** Whether the server was heard since the page was loaded. */
  #heard = false;
  #busy = false;
  /** The round of outcomes. */
  #round = 1;
  /** Why the last check found nothing. */
  problem: Problem = "not_ready";

  constructor(
    core: Core,
    options: TableOptions,
  ) {
    this.#core = core;
    this.#options = options;
    this.#clock = options.clock;
    this.#own = options.context.copy();
  }

  /** Takes in what the module has. `all`: also what has not changed. */
  refresh(all: boolean): void {
    const before = all ? new Map(this.#entries) : this.#entries;
    if (all) this.#entries.clear();
    for (const row of this.#core.flags(all)) {
      if (row.gone) this.#entries.delete(row.key);
      else this.#entries.set(row.key, kept(new Entry(row), before.get(row.key)));
    }
    this.#filled = true;
    this.#forget();
  }

  /** The server was heard, or is to be heard again: what was held back is served, or is held back. The flags that this changes. */
  confirm(heard: boolean, now: number): string[] {
    if (this.#heard === heard) return [];
    this.#heard = heard;
    this.#forget();
    return [...this.#entries.values()].filter((entry) => now < entry.guardedUntil).map((entry) => entry.key);
  }

  /** When answers may change by themselves next; Infinity: never. */
  fallsAt(now: number): number {
    let at = this.#core.settledUntil(now);
    if (!this.#heard) {
      for (const { guardedUntil } of this.#entries.values()) if (guardedUntil > now) at = Math.min(at, guardedUntil);
    }
    return at > now ? at : Infinity;
  }

  get isHeard(): boolean {
    return this.#heard;
  }

  /** The flag with its answer to this context, or nothing: then `problem` says why. Throws what a hostile context throws. */
  find(key: string, context: Context | null | undefined): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.problem = this.#filled && !this.#core.dead ? "flag_not_found" : "not_ready";
      return undefined;
    }
    // A getter in a context may check a flag itself, while the module's memory holds half of this one.
    if (this.#busy) {
      this.problem = "internal";
      return undefined;
    }
    const asked = this.#asked(context);
    if (entry.told && this.#options.isPage && asked !== this.#own && !this.#options.context.is(asked)) {
      this.problem = "other_context";
      return undefined;
    }
    const now = this.#clock.now();
    entry.see(asked);
    if (entry.epoch === this.#epoch && now < entry.until && now >= entry.from) {
      // The same answer as for another context, but this time the page's.
      entry.isOwn ||= this.#options.isPage && asked === this.#own;
      return this.#noted(entry);
    }
    return this.#evaluate(entry, asked, now);
  }

  /** The story behind the answer of an entry that was just found for this context. */
  detail(entry: Entry, context: Context | null | undefined): DetailRow | undefined {
    if (entry.unconfirmed) return undefined;
    if (entry.detail === undefined || entry.epoch !== this.#epoch) {
      const now = this.#clock.now();
      // The module answers for the context that it was given last.
      const { touched } = entry;
      if (this.#evaluate(entry, this.#asked(context), now) === undefined) return undefined;
      entry.counts[entry.variant]!--;
      entry.touched = touched;
      entry.detail = this.#core.detail(entry.key, entry.id, entry.revision, now);
    }
    return entry.detail;
  }

  /**
   * What was served to the page's own context, as far as a split or an exposure chose it: since the page was opened, or what was
   * since the last call for that.
   */
  takeServed(all: boolean): ServedFlag[] {
    const served: ServedFlag[] = [];
    for (const entry of this.#entries.values()) {
      const { touched } = entry;
      if (all ? !touched : touched !== this.#round) continue;
      try {
        const row = this.find(entry.key, undefined) && this.detail(entry, undefined);
        if (row?.split) served.push({ key: entry.key, revision: row.revision, variant: row.variant, split: row.split });
      } catch {
        // The page's context is none for this flag; what others gave still counts.
      }
      entry.touched = touched;
    }
    if (!all) this.#round++;
    return served;
  }

  /** The flags as they are. */
  all(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Who asks, where a check says who. */
  #asked(context: Context | null | undefined): Context {
    if (context === undefined || context === null) return this.#own;
    if (typeof context !== "object") throw new ContextRefused();
    return context;
  }

  #evaluate(entry: Entry, context: Context, now: number): Entry | undefined {
    entry.epoch = -1;
    const lasts = entry.lasts(context);
    entry.detail = undefined;
    let variant: number;
    let until: number;
    if (!this.#heard && now < entry.guardedUntil) {
      entry.unconfirmed = true;
      variant = entry.off;
      until = entry.guardedUntil;
    } else {
      entry.unconfirmed = false;
      const answer = this.#ask(entry, now);
      if (answer === NO_FLAG || answer === REFUSED) {
        this.problem = answer === REFUSED ? "invalid_context" : "internal";
        return undefined;
      }
      variant = answer & 0xffff;
      until = this.#settled(now);
    }
    entry.variant = variant;
    entry.value = entry.values[variant];
    if (lasts) {
      entry.epoch = this.#epoch;
      entry.from = now;
      entry.until = until;
    }
    entry.isOwn = this.#options.isPage && (context === this.#own || this.#options.context.is(context));
    return this.#noted(entry);
  }

  #noted(entry: Entry): Entry {
    if (entry.isOwn) entry.touched = this.#round;
    entry.counts[entry.variant]!++;
    return entry;
  }

  #ask({ key, id, revision, seen }: Entry, now: number): number {
    const core = this.#core;
    const memory = core.memoryFor(key, revision);
    if (memory === undefined) return NO_FLAG;
    this.#busy = true;
    let length: number;
    try {
      length = this.#encoder.write(memory, core.inbox, INBOX_BYTES, seen);
    } finally {
      this.#busy = false;
    }
    return core.check(key, id, revision, memory, length, now);
  }

  #settled(now: number): number {
    // Clocks are set back, too.
    if (now >= this.#settledUntil || now < this.#settledFrom) {
      this.#settledFrom = now;
      this.#settledUntil = this.#core.settledUntil(now);
    }
    return this.#settledUntil;
  }

  #forget(): void {
    this.#epoch++;
    this.#settledUntil = 0;
  }
}

/** What was counted of the flag before it changed stays counted. */
function kept(entry: Entry, before: Entry | undefined): Entry {
  before?.counts.forEach((count, variant) => {
    const place = entry.variants.indexOf(before.variants[variant] as string);
    if (place >= 0) entry.counts[place]! += count;
  });
  return entry;
}
