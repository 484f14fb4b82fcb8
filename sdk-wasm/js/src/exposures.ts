/**
 * How often flags gave which answer, on its way to the server: counted as checks are answered, told about once a minute and at
 * the end. What the server did not take is told again under the name that it had.
 */
import { drawn } from "./digest.js";
import { lossOf } from "./link.js";
import { after, LONGEST_PAUSE_MS } from "./retry.js";
import { later } from "./timer.js";
import type { Timer } from "./timer.js";

/** How often the server is told; a quarter more or less is left to chance. */
const EVERY_MS = 60_000;
/** Most counts in one batch. */
const BATCH = 500;
/** Counts of this length of time are told together, if they could not be told at once. */
const SLOT_S = 600;
/** Most counts that wait; past it the oldest are only told as a number. */
const MOST_WAITING = 20_000;
/** A server does not take what is older. */
const OLDEST_S = 48 * 3_600;

/** How often a flag gave a variant. */
export interface Count {
  flag: string;
  variant: string;
  count: number;
}

interface Counted extends Count {
  slot: number;
}

export interface ExposureOptions {
  instance: string;
  elapsed(): number;
  random(): number;
  /** What was counted since the last call. */
  take(): Count[];
  send(body: string): Promise<unknown>;
}

export class Exposures {
  readonly #options: ExposureOptions;
  #waiting = new Map<string, Counted>();
  #batch: Counted[] = [];
  #uncounted = 0;
  #batchUncounted = 0;
  #most = BATCH;
  #number = 0;
  #failures = 0;
  /** When the server is told next. */
  #dueAt = 0;
  /** The one that is under way. */
  #telling: Promise<void> = Promise.resolve();
  readonly #run: string;
  #timer: Timer;
  readonly #began: number;

  constructor(options: ExposureOptions) {
    this.#options = options;
    this.#run = drawn(options.random);
    this.#began = options.elapsed();
    this.#plan(0);
  }

  /** Tells what waits, batch by batch; done when nothing waits, or the server did not take one. */
  tell(): Promise<void> {
    this.#telling = this.#telling.then(() => this.#tellNow());
    return this.#telling;
  }

  /** Tells what waits if it is time to, for where no timer runs. */
  async due(): Promise<void> {
    // One that is under way for so long was begun by a request that took it along when it ended.
    if (this.#options.elapsed() >= this.#dueAt) await (this.#telling = this.#tellNow());
  }

  async #tellNow(): Promise<void> {
    this.#dueAt = this.#options.elapsed() + EVERY_MS;
    this.#collect();
    let asked = 0;
    for (let body = this.#next(); body !== undefined; body = this.#next()) {
      const sent = this.#batch;
      try {
        await this.#options.send(body);
        this.#failures = 0;
        this.#done(sent);
      } catch (error) {
        const loss = lossOf(error);
        if (loss.kind === "refused" && loss.status === 413 && sent.length > 1) {
          this.#split(sent);
          continue;
        }
        const next = after(loss, ++this.#failures, this.#options.random());
        // 404: the environment is gone, or the server does not count.
        if (next === "forget" || (loss.kind === "refused" && loss.status === 404)) this.#done(sent);
        else {
          asked = next === "more" ? LONGEST_PAUSE_MS : next.pauseMs;
          break;
        }
      }
    }
    this.#plan(asked);
  }

  async close(): Promise<void> {
    await this.tell();
    clearTimeout(this.#timer);
  }

  #plan(atLeast: number): void {
    clearTimeout(this.#timer);
    const pause = EVERY_MS * (0.75 + this.#options.random() / 2);
    const wait = Math.max(pause, atLeast);
    this.#dueAt = this.#options.elapsed() + wait;
    this.#timer = later(() => void this.tell(), wait);
  }

  #seconds(): number {
    return Math.floor((this.#options.elapsed() - this.#began) / 1_000);
  }

  #collect(): void {
    const slot = Math.floor(this.#seconds() / SLOT_S);
    for (const { flag, variant, count } of this.#options.take()) this.#add({ slot, flag, variant, count });
    const oldest = Math.floor((this.#seconds() - OLDEST_S) / SLOT_S);
    for (const [key, one] of this.#waiting) {
      if (one.slot >= oldest && this.#waiting.size <= MOST_WAITING) break;
      this.#uncounted += one.count;
      this.#waiting.delete(key);
    }
  }

  #add(one: Counted): void {
    const key = `${one.slot} ${one.flag} ${one.variant}`;
    const known = this.#waiting.get(key);
    if (known !== undefined) known.count += one.count;
    else this.#waiting.set(key, one);
  }

  #next(): string | undefined {
    if (this.#batch.length === 0 && this.#batchUncounted === 0) {
      for (const [key, one] of this.#waiting) {
        if (this.#batch.length === this.#most) break;
        this.#batch.push(one);
        this.#waiting.delete(key);
      }
      this.#batchUncounted = this.#uncounted;
      this.#uncounted = 0;
      this.#number++;
    }
    if (this.#batch.length === 0 && this.#batchUncounted === 0) return undefined;
    const counts = this.#batch.map(({ slot, flag, variant, count }) => ({
      flag,
      variant,
      count,
      // To the end of its slot, which may not have come.
      age_s: Math.max(0, this.#seconds() - (slot + 1) * SLOT_S),
    }));
    const body: Record<string, unknown> = { instance: this.#options.instance, batch: `${this.#run}-${this.#number}`, counts };
    if (this.#batchUncounted > 0) body.uncounted = this.#batchUncounted;
    return JSON.stringify(body);
  }

  /** This batch is told, if none that was begun later did so, and is at the next one. */
  #done(sent: Counted[]): void {
    if (sent !== this.#batch) return;
    this.#batch = [];
    this.#batchUncounted = 0;
  }

  /** Too large for this server: in smaller pieces. */
  #split(sent: Counted[]): void {
    if (sent !== this.#batch) return;
    this.#most = Math.max(1, Math.floor(sent.length / 2));
    this.#uncounted += this.#batchUncounted;
    sent.forEach((one) => this.#add(one));
    this.#done(sent);
  }
}
