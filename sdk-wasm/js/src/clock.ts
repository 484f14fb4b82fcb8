/**
 * What time it is. Checks read it often, so it is coarse: the system is asked once a task, or every 64 checks in a task
 * that is long. Where the server said its time, and this machine's is another, the server's counts: a flag dies on its date.
 */

const READINGS = 64;
/** A clock that differs from the server's by less is right. */
const TOLERATED_MS = 2_000;

export class Clock {
  readonly #system: () => number;
  #left = 0;
  #read = 0;
  #offset = 0;
  readonly #forget = () => {
    this.#left = 0;
    this.#planned = false;
  };
  #planned = false;

  constructor(system: () => number) {
    this.#system = system;
  }

  /** Milliseconds since 1970, as of this task. */
  now(): number {
    if (this.#left > 0) {
      this.#left--;
      return this.#read;
    }
    this.#left = READINGS;
    this.#read = this.#system() + this.#offset;
    if (!this.#planned) {
      this.#planned = true;
      queueMicrotask(this.#forget);
    }
    return this.#read;
  }

  /** Milliseconds since 1970, as of now. */
  exact(): number {
    return this.#system() + this.#offset;
  }

  /** The server says what time it is. */
  correct(server: number): void {
    const offset = server - this.#system();
    if (!Number.isFinite(offset)) return;
    this.#offset = Math.abs(offset) < TOLERATED_MS ? 0 : offset;
    this.#left = 0;
  }
}

/** Milliseconds on a clock that only goes forward. */
export function elapsed(): number {
  return performance.now();
}
