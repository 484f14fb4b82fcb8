/**
 * What became of a server's requests: summed by slots of ten seconds, told when a slot is over, again until it is
 * taken or too late, and once more at the end.
 */
import type { Inside } from "./client.js";
import { drawn } from "./digest.js";
import { lossOf } from "./link.js";
import { SLOT_MS, whole } from "./outcomes.js";
import { Remembering } from "./scope.js";
import type { Served } from "./scope.js";
import type { Context, Outcome, Scope } from "./types.js";
import { later } from "./timer.js";
import { slotOf, Tallies, unitHash } from "./tallies.js";
import type { Slot } from "./tallies.js";
import type { Timer } from "./timer.js";

/** How long after its end a slot is taken: three seconds, less the way there. */
const GRACE_MS = 2_800;
/** A slot is told this long after its end at most, so that a fleet does not tell all at once. */
const JITTER_MS = 1_000;
/** A server that does not answer, or is busy, is asked again after this long at most. */
const PAUSE_MS = 400;
/** Most summaries in one batch, as many as a server takes. */
const MOST_SUMMARIES = 1_000;
const MOST_BYTES = 128 * 1024;
/** A clock that differs from the server's by less is right. */
const TOLERATED_MS = 1_000;

export class ServerOutcomes {
  readonly #tallies = new Tallies();
  readonly #client: Inside;
  readonly #instance: string;
  readonly #send: (body: string) => Promise<string>;
  #used = false;
  #isClosed = false;
  #offset = 0;
  #number = 0;
  /** Up to where was told last. */
  #toldUntil = 0;
  readonly #run: string;
  #timer: Timer;

  constructor(
    client: Inside,
    instance: string,
    send: (body: string) => Promise<string>,
  ) {
    this.#client = client;
    this.#instance = instance;
    this.#send = send;
    this.#run = drawn(client.around.random);
  }

  /** A request of somebody. */
  scope(context: Context): Scope {
    this.use();
    return new Remembering(this.#client, context, (served, outcome) => {
      const { targetingKey } = context ?? {};
      this.end(typeof targetingKey === "string" ? targetingKey : undefined, served, outcome);
    });
  }

  /** A request ended that was served this. */
  end(targetingKey: string | undefined, served: Served[], outcome: Outcome): void {
    this.use();
    const ended = {
      bad: outcome.bad === true,
      latencyUs: whole((outcome.latencyMs ?? 0) * 1_000),
      costMicros: whole(outcome.costMicros),
    };
    const asked = targetingKey ? unitHash(targetingKey) : undefined;
    this.#tallies.add(asked, served, ended, this.#now());
  }

  /** Somebody holds a scope: from now on each slot is told of, a quiet one too. */
  use(): void {
    if (this.#used || this.#isClosed) return;
    this.#used = true;
    this.#toldUntil = slotOf(this.#now());
    this.#plan();
  }

  /** Tells of the slots that are over and were not told yet, for where no timer runs. */
  async due(): Promise<void> {
    if (this.#used) await this.#tell(slotOf(this.#now()));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    // What there is of the slot that has begun as well.
    if (this.#used) await this.#tell(slotOf(this.#now()) + SLOT_MS);
  }

  /** The server's time: slots are its. */
  #now(): number {
    return this.#client.around.system() + this.#offset;
  }

  #plan(): void {
    const now = this.#now();
    const wait = slotOf(now) + SLOT_MS - now + JITTER_MS * this.#client.around.random();
    this.#timer = later(() => {
      void this.#tell(slotOf(this.#now())).finally(() => this.#isClosed || this.#plan());
    }, wait);
  }

  /** Tells all of the slots that end at `until` or before. */
  async #tell(until: number): Promise<void> {
    // Time goes back, too: where a clock is set, or was ahead of the server's.
    if (until === this.#toldUntil) return;
    this.#toldUntil = until;
    const slots = this.#tallies.takeBefore(until);
    // A process in which nothing happened is not one that fell silent.
    const last = until - SLOT_MS;
    if (slots.at(-1)?.slot !== last) slots.push({ slot: last, all: undefined, summaries: [] });
    for (const slot of slots) {
      for (const body of this.#batches(slot)) await this.#untilTaken(body, slot.slot + SLOT_MS + GRACE_MS);
    }
  }

  /** A slot in pieces that a server takes. */
  *#batches({ slot, all, summaries }: Slot): Generator<string> {
    let rest = summaries.map((summary) => JSON.stringify(summary));
    let isFirst = true;
    while (isFirst || rest.length > 0) {
      let bytes = 0;
      let count = 0;
      while (count < rest.length && count < MOST_SUMMARIES && bytes < MOST_BYTES) bytes += (rest[count++] as string).length;
      const batch = `${this.#run}-${++this.#number}`;
      const head: Record<string, unknown> = { instance: this.#instance, batch, slot: new Date(slot).toISOString() };
      if (isFirst && all !== undefined) head.all = all;
      yield `${JSON.stringify(head).slice(0, -1)},"summaries":[${rest.slice(0, count).join(",")}]}`;
      rest = rest.slice(count);
      isFirst = false;
    }
  }

  async #untilTaken(body: string, closes: number): Promise<void> {
    for (;;) {
      let pause = PAUSE_MS * (0.25 + 0.75 * this.#client.around.random());
      try {
        this.#taken(await this.#send(body));
        return;
      } catch (error) {
        const loss = lossOf(error);
        if (loss.kind === "refused") {
          // The environment is gone, the key is not meant for this, or the server is older than this.
          if (loss.status >= 400 && loss.status < 429) return;
          if (loss.retryAfterMs > 0) pause = loss.retryAfterMs;
        }
      }
      // What comes after the slot's grace is no part of any verdict.
      if (this.#now() + pause > closes) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  #taken(answer: string): void {
    try {
      const { now } = JSON.parse(answer) as { now?: string };
      const offset = Date.parse(now ?? "") - this.#client.around.system();
      if (Number.isFinite(offset)) this.#offset = Math.abs(offset) < TOLERATED_MS ? 0 : offset;
    } catch {
      // It was taken all the same.
    }
  }
}
