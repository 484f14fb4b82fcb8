/**
 * Tabs of one origin that are open for the same context share one stream: the one that holds a lock follows it, and hands what
 * it hears to the others, each of which folds it by itself, its silences included. Where the platform has no locks or no
 * channels, each tab has a stream of its own.
 */
import type { Ears, Link, Loss } from "./link.js";
import type { Grant, PageLink } from "./page.js";
import { isOlder, snapshotOf, tokenOf } from "./page.js";
import type { Timer } from "./timer.js";

/** A tab that leads answers within this time, or is asleep: then this one follows a stream of its own. */
const ANSWER_MS = 150;
/** Who waits for another tab to reach the server waits no longer than this. */
const LEADER_MS = 10_000;
/** A stream that said nothing for as long may be dead: servers say something more often. */
const ALIVE_MS = 20_000;

/** What tabs say to each other. `to` is meant for one of them. */
type Said =
  | { say: "hello"; from: string }
  | { say: "wait"; to: string }
  | { say: "up" }
  | { say: "lost"; loss: Loss }
  | { say: "state"; to: string; frame: string; grant: Grant }
  | { say: "bytes"; bytes: Uint8Array }
  | { say: "ended"; items: unknown[] };

/** As much of the platform's locks as is used. */
export interface Locks {
  request(name: string, options: { signal: AbortSignal }, run: () => Promise<void>): Promise<unknown>;
}

/** As much of the platform's channels as is used. */
export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  close(): void;
}

export interface TabOptions {
  name: string;
  locks: Locks;
  channel(name: string): Channel;
  ears: Ears;
  /** Makes the way that the leader goes. */
  page(ears: Ears): PageLink;
  /** What time the server has, as it writes it. */
  now(): string;
  /** All that this tab knows, for one that is new. */
  state(): string | undefined;
  /** A tab that does not lead has something to tell the server. */
  onEnded(items: unknown[]): void;
  elapsed(): number;
  /** Whether the page is out of sight: then it does not lead. */
  isHidden(): boolean;
  id: string;
}

/** Events end with two of these. */
const LINE_FEED = 10;

export class TabLink implements Link {
  readonly #options: TabOptions;
  readonly #page: PageLink;
  readonly #channel: Channel;
  #leads = false;
  /** The machine asked for a connection, from here. */
  #wanted = false;
  #resume: string | undefined;
  /** What comes over the channel is this machine's stream. */
  #follows = false;
  /** Another tab is on its way to the server, for this one too. */
  #waits = false;
  #asked: Timer;
  #lock: AbortController | undefined;
  #giveUp: (() => void) | undefined;
  #grant: Grant | undefined;
  /** The others know that they can follow. */
  #announced = false;
  /** This tab's own stream stands. */
  #isUp = false;
  /** When it said something last. */
  #heardAt = 0;
  /** The beginning of an event whose end has not come. */
  #partial: Uint8Array = new Uint8Array(0);

  constructor(options: TabOptions) {
    this.#options = options;
    this.#page = options.page({
      connected: () => this.#heard(),
      bytes: (chunk) => this.#pass(chunk),
      lost: (loss) => this.#lost(loss),
    });
    this.#channel = options.channel(options.name);
    this.#channel.onmessage = (event) => this.#hear(event.data as Said);
    this.#stand();
  }

  connect(resume: string | undefined): void {
    this.#alone();
    this.#wanted = true;
    this.#resume = resume;
    if (this.#leads) this.#page.connect(resume);
    else this.#ask();
  }

  /** Follows nobody, and waits for nobody. */
  #alone(): void {
    this.#follows = this.#waits = this.#wanted = false;
    clearTimeout(this.#asked);
  }

  /** Another tab has so long to let this one follow. */
  #await(ms: number): void {
    clearTimeout(this.#asked);
    this.#asked = setTimeout(() => {
      this.#waits = false;
      this.#page.connect(this.#token());
    }, ms);
  }

  /** From where a stream has to go on. */
  #token(): string | undefined {
    const frame = this.#options.state();
    return frame === undefined ? this.#resume : tokenOf(frame);
  }

  #say(said: Said): void {
    try {
      this.#channel.postMessage(said);
    } catch {
      // It is closed; the others get on by themselves.
    }
  }

  disconnect(): void {
    this.#alone();
    this.#down();
    this.#page.disconnect();
  }

  #down(): void {
    this.#isUp = false;
    this.#announced = false;
    this.#partial = new Uint8Array(0);
  }

  said(name: string, data: string): void {
    this.#page.said(name, data);
  }

  /** A tab out of sight neither leads nor waits to. */
  rest(resting: boolean): void {
    if (resting) this.#step();
    else this.#stand();
  }

  close(): void {
    this.#step();
    clearTimeout(this.#asked);
    this.#page.close();
    this.#channel.close();
  }

  /** The way has a new grant, which is every tab's. */
  granted(grant: Grant): void {
    // What time it was then is not what time it is.
    this.#grant = { ...grant, now: undefined };
  }

  /** Hands what ended to the tab that leads; false if this one tells the server itself. */
  forward(items: unknown[]): boolean {
    if (this.#leads || !this.#follows) return false;
    this.#say({ say: "ended", items });
    return true;
  }

  /** Waits to lead. */
  #stand(): void {
    if (this.#lock !== undefined || this.#options.isHidden()) return;
    const lock = new AbortController();
    this.#lock = lock;
    const lead = () =>
      new Promise<void>((resolve) => {
        if (this.#lock !== lock) return resolve();
        this.#giveUp = resolve;
        this.#lead();
      });
    this.#options.locks.request(this.#options.name, { signal: lock.signal }, lead).catch(() => {});
  }

  /** Leads no more, and does not wait to. */
  #step(): void {
    this.#leads = false;
    const lock = this.#lock;
    const giveUp = this.#giveUp;
    this.#lock = undefined;
    this.#giveUp = undefined;
    if (giveUp !== undefined) giveUp();
    else lock?.abort();
  }

  #lead(): void {
    this.#leads = true;
    this.#announced = false;
    clearTimeout(this.#asked);
    const follows = this.#follows;
    this.#follows = this.#waits = false;
    if (follows) {
      // Goes on where the last leader stopped: the machine does not notice.
      if (this.#grant !== undefined) this.#page.take(this.#grant);
      this.#page.connect(this.#token());
    } else if (this.#isUp) this.#announce();
    else if (this.#wanted) this.#page.connect(this.#resume);
  }

  #heard(): void {
    this.#isUp = true;
    this.#options.ears.connected();
  }

  /** A piece of the stream: for this tab as it is, for others event by event, since one may begin in the middle. */
  #pass(chunk: Uint8Array): void {
    const whole = new Uint8Array(this.#partial.length + chunk.length);
    whole.set(this.#partial);
    whole.set(chunk, this.#partial.length);
    const end = lastEnd(whole);
    this.#partial = whole.slice(end);
    this.#heardAt = this.#options.elapsed();
    this.#options.ears.bytes(chunk);
    if (!this.#leads || end === 0) return;
    this.#say({ say: "bytes", bytes: whole.slice(0, end) });
    if (!this.#announced) this.#announce();
  }

  /** Who follows another one, or none, shall follow this one. */
  #announce(): void {
    this.#announced = true;
    this.#say({ say: "up" });
  }

  #lost(loss: Loss): void {
    this.#alone();
    this.#down();
    if (this.#leads) this.#say({ say: "lost", loss });
    this.#options.ears.lost(loss);
  }

  #hear(said: Said): void {
    switch (said?.say) {
      case "hello":
        if (this.#leads) this.#greet(said.from);
        break;
      case "wait":
        // Who leads is on the way to the server; one tab there is enough.
        if (said.to !== this.#options.id || !this.#wanted || this.#follows || this.#isUp) break;
        this.#waits = true;
        this.#await(LEADER_MS);
        break;
      case "up":
        // What this one followed until now was another tab, of which it may have missed the end.
        this.#follows = false;
        this.#ask();
        break;
      case "state":
        if (said.to === this.#options.id) this.#follow(said.frame, said.grant);
        break;
      case "bytes":
        if (this.#follows) this.#options.ears.bytes(said.bytes);
        break;
      case "lost":
        if (this.#follows || this.#waits) {
          this.#alone();
          this.#options.ears.lost(said.loss);
        }
        break;
      case "ended":
        if (this.#leads && Array.isArray(said.items)) this.#options.onEnded(said.items);
    }
  }

  /** A tab with a stream of its own, or with none, would follow. */
  #ask(): void {
    if (!this.#wanted || this.#leads) return;
    this.#say({ say: "hello", from: this.#options.id });
    // Nobody leads yet, or who leads is asleep.
    if (!this.#isUp) this.#await(ANSWER_MS);
  }

  #greet(to: string): void {
    const { state, now, elapsed } = this.#options;
    const frame = this.#announced ? state() : undefined;
    if (frame === undefined || this.#grant === undefined) return this.#say({ say: "wait", to });
    // Else who asks had better ask the server.
    if (elapsed() - this.#heardAt < ALIVE_MS) this.#say({ say: "state", to, frame, grant: { ...this.#grant, now: now() } });
  }

  #follow(frame: string, grant: Grant): void {
    // In the middle of an event of its own stream the machine could not make sense of another.
    if (!this.#wanted || this.#follows || this.#leads || this.#partial.length > 0) return;
    if (isOlder(frame, this.#options.state())) return;
    clearTimeout(this.#asked);
    this.#waits = false;
    this.#page.disconnect();
    this.#down();
    this.#page.take(grant);
    this.#follows = true;
    this.#options.ears.connected();
    this.#options.ears.bytes(snapshotOf(frame));
  }
}

/** Where the last whole event ends. */
function lastEnd(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at > 0; at--) {
    if (bytes[at] === LINE_FEED && bytes[at - 1] === LINE_FEED) return at + 1;
  }
  return 0;
}
