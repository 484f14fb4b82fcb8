/**
 * Does what the feed machine in the module says: connects, waits, serves. It knows neither what a connection is, nor what a
 * state holds.
 */
import type { Clock } from "./clock.js";
import type { Happened, Output } from "./core.js";
import type { Core } from "./guard.js";
import type { Ears, Link, Loss } from "./link.js";
import { Standing } from "./status.js";
import type { Table } from "./table.js";
import type { Change, Status } from "./types.js";
import { later } from "./timer.js";
import type { Timer } from "./timer.js";

/** The pause after a frame that trapped; up to twice as long is added by chance. */
const SLOW_RETRY_MS = 30_000;
/** Who rested for longer does not believe what is to be confirmed. */
const LONG_REST_MS = 45_000;
/** What was heard within this time is not asked for again, nor is a server that was asked for it. */
const FRESH_MS = 1_000;
/** Who waited before so many others has long given up. */
const MOST_WAITING = 64;
/** So many characters are said of what went wrong. */
const LONGEST_WHY = 400;

export interface DriverOptions {
  core: Core;
  table: Table;
  isPage: boolean;
  clock: Clock;
  elapsed(): number;
  random(): number;
  /** What is to be seen nowhere. */
  secret: string;
  onChange(change: Change): void;
  /** It stands so now; `isHopeless`: until somebody does something about it. */
  onStatus(status: Status, isHopeless: boolean): void;
  /** There is something new to keep; a kill at once. */
  onState(atOnce: boolean): void;
}

export class Driver implements Ears {
  readonly #options: DriverOptions;
  #link: Link | undefined;
  readonly #standing: Standing;
  #timer: Timer;
  #heldUntil = 0;
  /** When the machine wants to be told the time. */
  wakesAt = 0;
  #forgetResume = false;
  /** When answers change by themselves next. */
  #fallsAt = Infinity;
  #revision = 0;
  #resting = false;
  #restedAt = 0;
  #heardAt = -Infinity;
  /** When the machine was last made to connect anew. */
  #askedAt = -Infinity;
  /** There is no connection, and none is being made before the machine wants one. */
  #isLost = false;
  /** The key was not accepted. */
  #isRefused = false;
  /** What may mend the loss that is being told. */
  #advice: string | undefined;
  #closed = false;
  #waiting: (() => void)[] = [];

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#standing = new Standing(() => options.clock.exact());
  }

  get status(): Status {
    return this.#standing.status;
  }

  /** How far the log was seen, as far as is known. */
  get lastRevision(): number {
    return this.#revision;
  }

  /** Begins; `savedAt` tells when what is served was kept. */
  start(link: Link, savedAt: number | undefined): void {
    this.#link = link;
    if (savedAt !== undefined) this.#standing.cached(savedAt);
    this.tick();
  }

  /** Done when the server is heard the next time, or was since the page was loaded if `next` is false. */
  heard(next: boolean): Promise<void> {
    if (!next && this.#options.table.isHeard) return Promise.resolve();
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) > MOST_WAITING) this.#waiting.shift()!();
    });
  }

  connected(): void {
    this.#isLost = this.#isRefused = false;
    this.#input("connected");
  }

  bytes(chunk: Uint8Array): void {
    this.#heardAt = this.#options.elapsed();
    this.#input(chunk);
    // That nothing is new says it, too, unless all that there is was asked for.
    if (!this.#forgetResume && this.status.state === "live") this.#settle();
  }

  lost(loss: Loss): void {
    this.#isLost = true;
    this.#advice = loss.advice;
    this.#input(loss.kind === "ended" ? "ended" : loss);
    this.#advice = undefined;
  }

  /** The page is out of sight, or back. */
  rest(resting: boolean): void {
    if (this.#closed) return;
    this.#link?.rest?.(resting);
    if (this.#resting === resting) return;
    this.#resting = resting;
    const { table, clock, elapsed } = this.#options;
    if (resting) this.#restedAt = elapsed();
    else if (table.isHeard && elapsed() - this.#restedAt > LONG_REST_MS) {
      // As if the page were loaded anew; a machine that slept too learns of it here.
      this.#input("tick");
      const flags = table.confirm(false, clock.exact());
      if (flags.length > 0) this.#options.onChange({ flags, killIds: [], revision: this.#revision });
    }
    this.#input(resting ? "rest" : "wake");
  }

  /**
   * Lets a connection go and makes another now, unless the page is out of sight, the server was heard or asked just now, or it is to
   * be left alone for a while. Done when it is heard.
   */
  async again(): Promise<void> {
    const { elapsed, isPage, core } = this.#options;
    const now = elapsed();
    if (this.#closed || now - this.#heardAt < FRESH_MS) return;
    const next = this.heard(true);
    if (this.#resting || now < this.#heldUntil) return next;
    // All that there is in one piece: who asks a server may be gone before change after change was told.
    this.#forgetResume ||= !isPage;
    // Keys are mended by hand, and whoever did asks at once.
    if (this.#isLost && !this.#isRefused) this.tick();
    else if (now - this.#askedAt >= FRESH_MS) {
      this.#askedAt = now;
      this.#input("rest");
      this.#input("wake", 0);
      this.tick(this.#isRefused ? core.wakeAt() : undefined);
    }
    return next;
  }

  /** The module began anew: what it said before is of the past. */
  reopened(culprit: string): void {
    const { core, table, random, elapsed } = this.#options;
    this.#link?.disconnect();
    table.refresh(true);
    table.confirm(table.isHeard && core.isKept && !core.dead, 0);
    if (culprit === "input" || culprit === "flags") {
      // What trapped would trap again.
      this.#heldUntil = elapsed() + SLOW_RETRY_MS * (1 + 2 * random());
      this.#forgetResume = true;
    }
    this.#standing.cutOff("an internal error", false);
    this.#options.onStatus(this.status, false);
    this.#plan();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#settle();
  }

  /** Tells the machine the time. */
  tick(at?: number): void {
    const falls = this.#options.clock.exact() >= this.#fallsAt;
    this.#input("tick", undefined, at);
    // Checks know it by themselves; who only listens does not.
    if (falls) this.#options.onChange({ flags: "all", killIds: [], revision: this.#revision });
  }

  #input(happened: Happened, random = this.#options.random(), at = this.#options.elapsed()): void {
    if (this.#closed) return;
    this.#act(this.#options.core.input(happened, random, at));
    this.#plan();
  }

  #plan(): void {
    clearTimeout(this.#timer);
    const { core, table, clock, elapsed } = this.#options;
    if (this.#closed || core.dead) return;
    const now = clock.exact();
    this.#fallsAt = table.fallsAt(now);
    this.wakesAt = Math.max(core.wakeAt(), this.#heldUntil);
    const wait = Math.min(this.wakesAt - elapsed(), this.#fallsAt - now);
    this.#timer = later(() => this.tick(), wait);
  }

  #act(outputs: Output[]): void {
    const { core, table, clock } = this.#options;
    const changes: Change[] = [];
    const before = this.status;
    let heard = false;
    for (const output of outputs) {
      switch (output.do) {
        case "connect":
          this.#connect(output.resume);
          break;
        case "disconnect":
          this.#link?.disconnect();
          break;
        case "serve": {
          heard = true;
          this.#revision = output.revision;
          table.refresh(false);
          // All that there is was asked for, and may be what there was.
          const isKnown = this.#forgetResume && core.kept === core.export();
          this.#forgetResume = false;
          if (!isKnown) changes.push({ flags: output.everything ? "all" : output.flags, killIds: output.kill_ids, revision: output.revision });
          if (this.status.state === "live") this.#standing.live(this.#revision);
          break;
        }
        case "ack":
          this.#link?.ack?.(output.revision, output.kill_ids);
          break;
        case "said":
          this.#link?.said?.(output.name, output.data);
          break;
        case "standing":
          if (output.standing.state === "live") {
            heard = true;
            this.#standing.live(this.#revision);
          } else if (output.standing.state === "stale") {
            const { why, code } = output.standing;
            const told = `${why}${this.#advice ?? ""}`.replaceAll(this.#options.secret, "…");
            this.#standing.cutOff(told.slice(0, LONGEST_WHY), (this.#isRefused = code === "unauthorized"));
          }
      }
    }
    // What was held back until now changed, though nothing else did.
    const guarded = heard ? table.confirm(true, clock.exact()) : [];
    // A kill, or all that there is: the module goes on from what was kept last, should it trap.
    const isUrgent = changes.some(({ flags, killIds }) => killIds.length > 0 || flags === "all");
    if (changes.length > 0) this.#options.onState(isUrgent);
    if (this.status !== before) this.#options.onStatus(this.status, this.#advice !== undefined);
    if (changes.length === 0 && guarded.length > 0) changes.push({ flags: guarded, killIds: [], revision: this.#revision });
    changes.forEach((change) => this.#options.onChange(change));
    if (heard) this.#settle();
  }

  #connect(resume: string | null): void {
    this.#revision ||= Number(resume?.split(":").pop()) || 0;
    this.#link?.connect(this.#forgetResume ? undefined : (resume ?? undefined));
  }

  #settle(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    waiting.forEach((resolve) => resolve());
  }
}
