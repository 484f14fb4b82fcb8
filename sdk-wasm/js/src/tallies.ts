/**
 * Sums of what became of a server's requests, by slot, flag and variant, as the server takes them. Units are told by their
 * hashes, which never change, and of many units those with the smallest: so the lists of several processes compare.
 */
import { utf8 } from "./encode.js";
import { SLOT_MS } from "./outcomes.js";
import type { Served } from "./scope.js";

/** Most units in one list. */
const MAX_LISTED = 256;
/** One more than is told: it says below which hash a list is complete. */
const KEPT = MAX_LISTED + 1;
/** Most sums at one time; past it outcomes are left out. */
const MOST_SERIES = 20_000;
/** Longest latency that is told apart, an hour. */
const MAX_LATENCY_US = 3_600_000_000;
/** So many ranges of latencies for each doubling. */
const FOR_EACH_DOUBLING = 16;

/** How a request ended. */
export interface Ended {
  bad: boolean;
  costMicros: number;
  latencyUs: number;
}

/** What is told of a slot. */
export interface Slot {
  slot: number;
  all: object | undefined;
  summaries: object[];
}

/** The hash of a unit: FNV-1a of its bytes, mixed as splitmix64 does, in 16 hexadecimal digits. */
export function unitHash(unit: string): string {
  const low = (bits: bigint) => BigInt.asUintN(64, bits);
  let mixed = 0xcbf29ce484222325n;
  for (const byte of utf8.encode(unit)) mixed = low((mixed ^ BigInt(byte)) * 0x100000001b3n);
  mixed = low((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n);
  mixed = low((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
  return (mixed ^ (mixed >> 31n)).toString(16).padStart(16, "0");
}

/** The shortest latency that is counted together with this one, in microseconds. */
export function bucketOf(us: number): number {
  const whole = Math.min(Math.floor(us), MAX_LATENCY_US);
  if (whole < FOR_EACH_DOUBLING) return whole;
  const width = 2 ** (31 - Math.clz32(whole) - Math.log2(FOR_EACH_DOUBLING));
  return Math.floor(whole / width) * width;
}

/** The start of the slot of a moment. */
export function slotOf(ms: number): number {
  return Math.floor(ms / SLOT_MS) * SLOT_MS;
}

export class Tallies {
  readonly #series = new Map<number, Map<string, { served: Served; series: Series }>>();
  readonly #all = new Map<number, Series>();
  #size = 0;

  /** Adds what became of a request of somebody that was served this, at a moment of the server's clock. */
  add(asked: string | undefined, served: Served[], ended: Ended, now: number): void {
    const slot = slotOf(now);
    let all = this.#all.get(slot);
    if (all === undefined) this.#all.set(slot, (all = new Series()));
    all.add(asked, ended);
    let sums = this.#series.get(slot);
    if (sums === undefined) this.#series.set(slot, (sums = new Map()));
    for (const one of served) {
      const key = JSON.stringify([one.key, one.revision, one.split, one.variant]);
      let sum = sums.get(key);
      if (sum === undefined) {
        if (this.#size === MOST_SERIES) continue;
        this.#size++;
        sums.set(key, (sum = { served: one, series: new Series() }));
      }
      sum.series.add(one.unit ?? undefined, ended);
    }
  }

  /** Takes out the sums of the slots that end at this moment or before. */
  takeBefore(until: number): Slot[] {
    const slots = [...this.#all.keys()].filter((slot) => slot + SLOT_MS <= until).sort((a, b) => a - b);
    return slots.map((slot) => {
      const sums = [...(this.#series.get(slot)?.values() ?? [])];
      const all = this.#all.get(slot)?.told(true);
      this.#series.delete(slot);
      this.#all.delete(slot);
      this.#size -= sums.length;
      const at = new Date(slot).toISOString();
      const summaries = sums.map(({ served: { key: flag, revision, split, variant }, series }) => {
        return { flag, flag_revision: revision, split, variant, slot: at, outcomes: series.told(false) };
      });
      return { slot, all, summaries };
    });
  }
}

/** The sums of one variant, or of all requests. */
class Series {
  #requests = 0;
  #bad = 0;
  #costMicros = 0;
  readonly #latency = new Map<number, number>();
  readonly #served = new Lowest();
  readonly #failed = new Lowest();
  readonly #slow = new Lowest();

  add(unit: string | undefined, { bad, costMicros, latencyUs }: Ended): void {
    const bucket = bucketOf(latencyUs);
    this.#requests++;
    this.#bad += Number(bad);
    this.#costMicros += costMicros;
    this.#latency.set(bucket, (this.#latency.get(bucket) ?? 0) + 1);
    if (unit === undefined) return;
    this.#served.add(unit, 0);
    this.#slow.add(unit, bucket);
    if (bad) this.#failed.add(unit, 0);
  }

  /** As it is sent; `all`: an app itself is compared with nothing, and which units are slow tells nothing. */
  told(all: boolean): object {
    const unknown = { units: [], complete_below: "0".repeat(16) };
    return {
      units: Math.min(this.#served.distinct(), this.#requests),
      requests: this.#requests,
      bad_requests: this.#bad,
      cost_micros: this.#costMicros,
      latency: [...this.#latency].sort(([a], [b]) => a - b),
      served: all ? unknown : this.#served.sample(([unit]) => unit),
      bad: this.#failed.sample(([unit]) => unit),
      slow: all ? unknown : this.#slow.sample((unit) => unit),
      slow_from_us: 0,
    };
  }
}

/** The units with the smallest hashes, each with the largest that is known of it. */
class Lowest {
  #units = new Map<string, number>();
  /** What is larger is not kept. */
  #below: string | undefined;

  add(unit: string, told: number): void {
    if (this.#below !== undefined && unit > this.#below) return;
    this.#units.set(unit, Math.max(told, this.#units.get(unit) ?? 0));
    if (this.#units.size >= 2 * KEPT) this.#cut();
  }

  /** How many units there were: counted, or if they are more than are kept, estimated from how close together these lie. */
  distinct(): number {
    this.#cut();
    const kept = this.#units.size;
    if (this.#below === undefined) return kept;
    const estimate = (BigInt(kept - 1) << 64n) / BigInt(`0x${this.#below}`);
    return Math.max(Number(estimate), kept);
  }

  sample<T>(written: (unit: [string, number]) => T): { units: T[]; complete_below?: string } {
    this.#cut();
    const sorted = [...this.#units].sort(byHash);
    const units = sorted.slice(0, MAX_LISTED).map(written);
    const next = sorted[MAX_LISTED];
    return next === undefined ? { units } : { units, complete_below: next[0] };
  }

  #cut(): void {
    if (this.#units.size <= KEPT) return;
    const kept = [...this.#units].sort(byHash).slice(0, KEPT);
    this.#units = new Map(kept);
    this.#below = kept.at(-1)?.[0];
  }
}

function byHash([a]: [string, number], [b]: [string, number]): number {
  return a < b ? -1 : Number(a > b);
}
