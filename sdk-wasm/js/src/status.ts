/** How a client stands with its server, from what the machine says of it. */
import type { Status } from "./types.js";

export class Standing {
  readonly #system: () => number;
  #savedAt: number | undefined;
  status: Status = { state: "starting" };
  #wasLive = false;
  #since: number | undefined;

  constructor(system: () => number) {
    this.#system = system;
  }

  /** What was kept then is served. */
  cached(savedAt: number): void {
    this.#savedAt = savedAt;
    this.status = { state: "cached", savedAt };
  }

  live(revision: number): void {
    this.#wasLive = true;
    this.#since = undefined;
    this.status = { state: "live", revision };
  }

  cutOff(why: string, unauthorized: boolean): void {
    this.#since ??= this.#system();
    const savedAt = this.#savedAt;
    if (savedAt !== undefined && !this.#wasLive) this.status = { state: "cached", savedAt, why };
    else this.status = { state: this.#wasLive ? "stale" : "offline", since: this.#since, why, unauthorized };
  }
}
