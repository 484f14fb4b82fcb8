/**
 * A flag on this side of the module: its values, made once and frozen, and its last answer, which holds as long as nothing
 * that it depends on is different.
 */
import type { DetailRow, FlagRow } from "./core.js";
import type { Context } from "./types.js";

export class Entry {
  readonly key: string;
  readonly id: number;
  readonly revision: number;
  readonly told: boolean;
  readonly guardedUntil: number;
  readonly off: number;
  readonly variants: string[];
  readonly values: unknown[];
  readonly needs: string[];

  // The last answer, for whom it was, and when it holds.
  epoch = -1;
  from = 0;
  until = 0;
  readonly seen: unknown[];
  #turn = 0;
  value: unknown;
  variant = 0;
  unconfirmed = false;
  /** It was for the page's own context, or for one that is no different to this flag. */
  isOwn = false;
  detail: DetailRow | undefined;

  /** The round of outcomes in which it was checked last. */
  touched = 0;
  /** How often it gave each variant. */
  readonly counts: number[];

  constructor(row: FlagRow) {
    this.key = row.key;
    this.id = row.id;
    this.revision = row.revision;
    this.told = !!row.told;
    this.guardedUntil = row.guarded_until ?? 0;
    this.off = Math.max(row.variants.findIndex((variant) => variant.key === row.off), 0);
    this.variants = row.variants.map((variant) => variant.key);
    this.values = row.variants.map((variant) => frozen(variant.value));
    this.needs = row.needs ?? [];
    this.seen = new Array(this.needs.length).fill(undefined);
    this.counts = new Array(row.variants.length).fill(0);
  }

  /** Takes down what this context says of all that the answer depends on; where that is new, the last answer is none. */
  see(context: Context): void {
    const { needs, seen } = this;
    const turn = ++this.#turn;
    for (let i = 0; i < needs.length; i++) {
      const value = (context as Record<string, unknown>)[needs[i] as string];
      // A getter checked this very flag for another context.
      if (turn !== this.#turn) return this.#seeAll(needs.map((name) => (context as Record<string, unknown>)[name]));
      // Once one differs, all are taken down as they come: to compare texts takes longer.
      if (this.epoch >= 0 && value === seen[i]) continue;
      seen[i] = value;
      this.epoch = -1;
    }
  }

  #seeAll(values: unknown[]): void {
    values.forEach((value, i) => (this.seen[i] = value));
    this.epoch = -1;
  }

  /** Whether what was taken down says the same tomorrow: objects may be changed, and what every object has is no attribute. */
  lasts(context: Context): boolean {
    const { needs, seen } = this;
    let lasts = true;
    for (let i = 0; i < seen.length; i++) {
      const value = seen[i];
      if ((typeof value !== "object" || value === null) && typeof value !== "function") continue;
      const name = needs[i] as string;
      if (name in Object.prototype && !Object.hasOwn(context, name)) seen[i] = undefined;
      lasts = false;
    }
    return lasts;
  }
}

/** So that one who changes what a check gave out does not change what others get. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}
