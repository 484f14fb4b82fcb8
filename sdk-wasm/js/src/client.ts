/** The client that apps hold: checks, events, and the one session at a time that answers for it. */
import type { Around } from "./around.js";
import { Checks } from "./check.js";
import { Clock } from "./clock.js";
import { PageContext } from "./context.js";
import type { DetailRow, Module } from "./core.js";
import { messageOf } from "./guard.js";
import { carried } from "./carried.js";
import { outlook } from "./outlook.js";
import { isOlder } from "./page.js";
import { FIRST_PAUSE_MS, LONGEST_PAUSE_MS } from "./retry.js";
import type { Host, Parts } from "./session.js";
import { Session } from "./session.js";
import type { Link } from "./link.js";
import type { Change, Client, Context, Detail, Fault, KeptState, Options, Outcome, Scope, Status } from "./types.js";
import { later, within } from "./timer.js";
import type { Timer } from "./timer.js";

export const WAIT_MS = 300;
const SILENCE_MS = 45_000;
const HIDDEN_AFTER_MS = 10_000;
/** Checks for another context within this time open the page once. */
const OTHER_CONTEXT_MS = 10;

/** How outcomes reach the server, which differs between pages and servers. */
export interface Teller {
  scope(context: Context): Scope;
  track(name: string, outcome: Outcome): void;
  fault(fault: Fault): void;
  /** Tells what there is; `leaving`: nobody may be here to hear the answer. */
  flush(leaving: boolean): void;
  /** Tells what a timer would have told by now. */
  due?(): Promise<unknown>;
  close(): Promise<void>;
}

/** What differs between pages and servers. */
export interface Mode {
  isPage: boolean;
  link(client: Inside, parts: Parts): Link;
  teller(client: Inside): Teller;
}

/** A client as its parts see it. */
export interface Inside extends Client {
  detail<T>(key: string, context: Context | null | undefined, fallback: T, type: string | undefined): Detail<T>;
  readonly row: DetailRow | undefined;
  readonly base: string;
  readonly key: string;
  readonly options: Options;
  readonly around: Around;
  readonly clock: Clock;
  readonly session: Session;
  readonly teller: Teller;
  readonly fetch: typeof fetch;
}

type Events = { change: Change; status: Status; error: Fault };

export class TidegateClient extends Checks implements Inside, Host {
  readonly #mode: Mode;
  readonly clock: Clock;
  readonly teller: Teller;
  readonly fetch: typeof fetch;
  session: Session;
  module: Module | undefined;
  readonly #handlers: { [E in keyof Events]: Set<(event: Events[E]) => void> } = {
    change: new Set(),
    status: new Set(),
    error: new Set(),
  };
  /** Which of the contexts that were asked for is the last. */
  #asked = 0;
  #wanted: string;
  /** The change to that one. */
  #moving: Promise<void> | undefined;
  /** The context that the app set last. */
  #home: PageContext;
  #other: Timer;
  #otherAfter = 0;
  /** Checks that go back and forth between contexts open the page ever more seldom. */
  #otherPauseMs = FIRST_PAUSE_MS;
  #refreshing: Promise<unknown> | undefined;
  #closed = false;
  #complained = false;
  #warned = false;
  #trouble: Status | undefined;
  #endOutlook: (() => void) | undefined;
  #resting = false;
  #begun: Promise<void>;

  constructor(
    readonly base: string,
    readonly options: Options,
    readonly around: Around,
    mode: Mode,
    load: () => Promise<Module>,
  ) {
    super();
    this.#mode = mode;
    this.clock = new Clock(around.system);
    this.fetch = (...request) => (options.fetch ?? around.fetch)(...request);
    const context = new PageContext(options.context);
    this.#home = context;
    this.#wanted = context.text;
    this.session = new Session(this, context, undefined);
    this.teller = mode.teller(this);
    const { page } = around;
    if (page !== undefined) {
      this.#endOutlook = outlook({
        page,
        hiddenAfterMs: options.hiddenAfterMs ?? HIDDEN_AFTER_MS,
        onRest: (resting) => this.#rest(resting),
        onLeaving: () => this.#leave(),
      });
    }
    this.#begun = this.#begin(load);
  }

  /** Done when the server was heard, or after this time. */
  async ready(waitMs: number): Promise<void> {
    await within(
      waitMs,
      this.#begun.then(() => this.session.driver.heard(false)),
    );
  }

  async setContext(context: Context): Promise<void> {
    this.#home = new PageContext(context);
    this.#otherPauseMs = FIRST_PAUSE_MS;
    return this.#move(this.#home);
  }

  #move(page: PageContext): Promise<void> {
    clearTimeout(this.#other);
    if (page.text !== this.#wanted) {
      this.#wanted = page.text;
      this.#moving = this.#change(page, ++this.#asked);
    }
    return (this.#moving ??= this.ready(this.#waitMs));
  }

  async #change(page: PageContext, asked: number): Promise<void> {
    await within(this.#waitMs, this.#begun);
    if (this.#closed || asked !== this.#asked) return;
    const before = this.session;
    if (this.module === undefined) {
      // The module begins with this context when it is had.
      this.session = new Session(this, page, undefined);
      return;
    }
    let kept = await Session.kept(this, page);
    const known = before.core.export();
    // What was kept longer ago knows less of kills than what is served now.
    if (kept === undefined || (before.table.isHeard && isOlder(kept.frame, known))) kept = carried(known, this.around.system());
    if (this.#closed || asked !== this.#asked) return;
    const session = new Session(this, page, kept);
    session.start();
    await within(this.#waitMs, session.driver.heard(false));
    if (this.#closed || asked !== this.#asked) return session.close();
    this.session = session;
    this.table = session.table;
    this.home = page.text === this.#home.text ? undefined : this.#home.copy();
    before.close();
    if (this.#resting) session.driver.rest(true);
    this.#announce();
  }

  status(): Status {
    const { driver } = this.session;
    this.around.catchUp?.(driver);
    return this.#trouble ?? driver.status;
  }

  async refresh(): Promise<void> {
    const refreshing = (this.#refreshing ??= this.#begun.then(() => Promise.all([this.session.driver.again(), this.teller.due?.()])));
    // Each with a time of its own: who began it may be gone with all that it waits for.
    await within(this.#waitMs, refreshing).finally(() => {
      if (this.#refreshing === refreshing) this.#refreshing = undefined;
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#offline("the client is closed");
    this.table = undefined;
    clearTimeout(this.#other);
    this.#endOutlook?.();
    await this.teller.close();
    const closed = this.session.close();
    Object.values(this.#handlers).forEach((handlers) => handlers.clear());
    // Who keeps it may never be done.
    await within(this.#waitMs, closed);
  }

  on<E extends keyof Events>(event: E, run: (event: Events[E]) => void): () => void {
    const handlers = this.#handlers[event] as Set<(event: Events[E]) => void> | undefined;
    handlers?.add(run);
    return () => void handlers?.delete(run);
  }

  scope(context: Context): Scope {
    return this.teller.scope(context);
  }

  track(name: string, details?: Outcome): void {
    try {
      this.teller.track(name, details ?? {});
    } catch (error) {
      this.fault({ where: "track", message: messageOf(error) });
    }
  }

  /** The module is had, now or later. */
  async #begin(load: () => Promise<Module>): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!this.#closed) {
      try {
        this.module = await load();
        break;
      } catch (error) {
        if (this.#closed) return;
        const why = `the module cannot be had: ${messageOf(error)}`;
        this.fault({ where: "load", message: why });
        this.#emit("status", this.#offline(why));
        await new Promise<void>((resolve) => later(resolve, pause * (0.5 + this.around.random() / 2)));
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
      }
    }
    if (this.#closed) return;
    this.#trouble = undefined;
    const { context } = this.session;
    const kept = await Session.kept(this, context);
    if (this.#closed) return;
    this.session = new Session(this, context, kept);
    this.table = this.session.table;
    this.session.start();
    if (this.#resting) this.session.driver.rest(true);
    // Whoever was given the client before this moment has only seen fallbacks.
    if (kept !== undefined) this.#announce();
  }

  #offline(why: string): Status {
    return (this.#trouble = { state: "offline", since: this.around.system(), why, unauthorized: false });
  }

  /** There is another session, or one that begins to answer. */
  #announce(): void {
    this.#emit("status", this.status());
    this.#emit("change", { flags: "all", killIds: [], revision: this.session.driver.lastRevision });
  }

  get isPage(): boolean {
    return this.#mode.isPage;
  }

  get silenceMs(): number {
    return this.options.silenceMs ?? SILENCE_MS;
  }

  get storage(): KeptState | undefined {
    const { storage } = this.options;
    return storage === false ? undefined : (storage ?? this.around.storage);
  }

  link(parts: Parts): Link {
    return this.#mode.link(this, parts);
  }

  changed(session: Session, change: Change): void {
    // One that only comes to be says nothing yet.
    if (session === this.session) this.#emit("change", change);
  }

  stood(session: Session, status: Status, isHopeless: boolean): void {
    if (isHopeless && !this.#warned) {
      this.#warned = true;
      console.warn(`tidegate: ${this.base}: ${(status as { why?: string }).why}`);
    }
    if (session === this.session) this.#emit("status", status);
  }

  get key(): string {
    return this.options.key;
  }

  get #waitMs(): number {
    return this.options.waitMs ?? WAIT_MS;
  }

  /** The last context that is asked for gets the page. */
  protected override onOtherContext(context: Context | null | undefined): void {
    clearTimeout(this.#other);
    const wait = Math.max(OTHER_CONTEXT_MS, this.#otherAfter - this.around.elapsed());
    this.#other = later(() => {
      this.#otherAfter = this.around.elapsed() + this.#otherPauseMs;
      this.#otherPauseMs = Math.min(2 * this.#otherPauseMs, LONGEST_PAUSE_MS);
      try {
        void this.#move(context ? new PageContext(context) : this.#home);
      } catch {
        // What is no context was answered with its fallback already.
      }
    }, wait);
  }

  #rest(resting: boolean): void {
    this.#resting = resting;
    this.session.driver.rest(resting);
  }

  #leave(): void {
    this.teller.flush(true);
    this.session.keep();
    // Another tab may lead from now on.
    this.session.link?.rest?.(true);
  }

  fault(fault: Fault): void {
    if (!this.#complained) {
      this.#complained = true;
      console.error(`tidegate: ${fault.where}: ${fault.message}`);
    }
    this.teller?.fault(fault);
    this.#emit("error", fault);
  }

  #emit<E extends keyof Events>(event: E, said: Events[E]): void {
    for (const run of [...this.#handlers[event]]) {
      try {
        run(said);
      } catch (error) {
        // A handler's mistake is the app's, and must not stop the feed; it is seen as any uncaught one.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
