/** One request, or one thing that is done in a page: what was checked in it counts for how it ends. */
import type { Inside } from "./client.js";
import type { ServedFlag } from "./outcomes.js";
import type { Context, Outcome, Scope } from "./types.js";

/** Most flags that one scope remembers. */
const MAX_FLAGS = 64;

/** A variant that was served, and to which of its units. */
export interface Served extends ServedFlag {
  unit: string | null;
}

/** Answers as the client does, and remembers what a split or an exposure chose. */
export class Remembering implements Scope {
  readonly #client: Inside;
  readonly #context: Context;
  readonly #end: (served: Served[], outcome: Outcome) => void;
  readonly #began: number;
  readonly #served = new Map<string, Served>();
  #isOver = false;

  /** `end` is told how it ended; what it throws costs the outcome, and nothing else. */
  constructor(client: Inside, context: Context, end: (served: Served[], outcome: Outcome) => void) {
    this.#client = client;
    this.#context = context;
    this.#end = end;
    this.#began = client.around.elapsed();
  }

  bool(key: string, fallback: boolean): boolean {
    return this.#value(key, fallback, "boolean");
  }

  string(key: string, fallback: string): string {
    return this.#value(key, fallback, "string");
  }

  number(key: string, fallback: number): number {
    return this.#value(key, fallback, "number");
  }

  json<T>(key: string, fallback: T): T {
    return this.#value(key, fallback);
  }

  finish(outcome: Outcome = {}): void {
    if (this.#isOver) return;
    this.#isOver = true;
    try {
      const latencyMs = outcome.latencyMs ?? this.#client.around.elapsed() - this.#began;
      this.#end([...this.#served.values()], { ...outcome, latencyMs });
    } catch {
      // A context that cannot be read, or no outcome: nobody knows whose it is.
    }
  }

  #value<T>(key: string, fallback: T, type?: string): T {
    const { value, variant, split, revision } = this.#client.detail(key, this.#context, fallback, type);
    // What a split chose has the rest, too.
    if (split !== undefined && !this.#isOver && this.#served.size < MAX_FLAGS) {
      const unit = this.#client.row?.unit ?? null;
      this.#served.set(`${key} ${revision} ${variant}`, { key, revision, variant, split, unit } as Served);
    }
    return value;
  }
}
