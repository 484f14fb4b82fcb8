/** Acknowledgements on their way to the server: what cannot be sent is kept, and goes with the next. */
import { lossOf } from "./link.js";
import { after } from "./retry.js";
import { later } from "./timer.js";
import type { Timer } from "./timer.js";

/** Most kill ids that wait; the oldest go first. */
const UNSENT_KILLS = 1_000;
/** Most kills in one acknowledgement. */
const MOST_KILLS = 32;

export class Acks {
  readonly #send: (revision: number, killIds: string[]) => Promise<unknown>;
  readonly #random: () => number;
  #revision: number | undefined;
  #killIds: string[] = [];
  #failures = 0;
  #sending = false;
  #timer: Timer;

  constructor(
    send: (revision: number, killIds: string[]) => Promise<unknown>,
    random: () => number,
  ) {
    this.#send = send;
    this.#random = random;
  }

  /** Adds to what will be said; a kill is on its way at once. */
  add(revision: number, killIds: string[]): void {
    // A server that was restored from a backup has lower revisions than before.
    this.#revision = revision;
    for (const id of killIds) if (!this.#killIds.includes(id)) this.#killIds.push(id);
    this.#killIds.splice(0, Math.max(0, this.#killIds.length - UNSENT_KILLS));
    void this.#run();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#revision = undefined;
    this.#killIds = [];
  }

  async #run(): Promise<void> {
    if (this.#sending) return;
    clearTimeout(this.#timer);
    this.#sending = true;
    try {
      while (this.#revision !== undefined) {
        const revision = this.#revision;
        const killIds = this.#killIds.slice(0, MOST_KILLS);
        try {
          await this.#send(revision, killIds);
        } catch (error) {
          const next = after(lossOf(error), ++this.#failures, this.#random());
          if (next !== "forget") return this.#later(next);
        }
        this.#failures = 0;
        this.#killIds = this.#killIds.filter((id) => !killIds.includes(id));
        if (this.#revision === revision && this.#killIds.length === 0) this.#revision = undefined;
      }
    } finally {
      this.#sending = false;
    }
  }

  #later(next: "more" | { pauseMs: number }): void {
    if (next === "more") return;
    this.#timer = later(() => void this.#run(), next.pauseMs);
  }
}
