/** One context's life: its module, its flags, its way to the server, and what is kept of it. */
import type { Around } from "./around.js";
import type { Clock } from "./clock.js";
import type { PageContext } from "./context.js";
import type { Module } from "./core.js";
import { Driver } from "./driver.js";
import { Core } from "./guard.js";
import type { Ears, Link } from "./link.js";
import type { Kept } from "./storage.js";
import { Keeper, load, nameOf } from "./storage.js";
import { Table } from "./table.js";
import type { Change, Fault, KeptState, Status } from "./types.js";

/** What a way to the server is made of. */
export interface Parts {
  name: string;
  context: PageContext;
  ears: Ears;
  /** The tag of what was kept. */
  tag: string | undefined;
  core: Core;
  /** There is another tag for what is kept. */
  onTag(tag: string | undefined): void;
}

/** Whose sessions these are. */
export interface Host {
  readonly module: Module | undefined;
  readonly around: Around;
  readonly clock: Clock;
  readonly base: string;
  readonly key: string;
  readonly isPage: boolean;
  readonly silenceMs: number;
  readonly storage: KeptState | undefined;
  link(parts: Parts): Link;
  changed(session: Session, change: Change): void;
  stood(session: Session, status: Status, isHopeless: boolean): void;
  fault(fault: Fault): void;
}

export class Session {
  readonly core: Core;
  readonly table: Table;
  readonly driver: Driver;
  link: Link | undefined;
  readonly #keeper: Keeper;
  readonly #name: string;
  #tag: string | undefined;

  constructor(
    readonly host: Host,
    readonly context: PageContext,
    readonly kept: Kept | undefined,
  ) {
    const { around, clock, isPage, silenceMs } = host;
    const { elapsed, random } = around;
    this.#name = nameFor(host, context);
    this.core = new Core(host.module, {
      silenceMs,
      elapsed,
      onFault: (fault) => host.fault(fault),
      onReopened: (culprit) => this.driver.reopened(culprit),
    });
    this.table = new Table(this.core, { clock, context, isPage });
    this.driver = new Driver({
      core: this.core,
      table: this.table,
      isPage,
      clock,
      elapsed,
      random,
      secret: host.key,
      onChange: (change) => host.changed(this, change),
      onStatus: (status, isHopeless) => host.stood(this, status, isHopeless),
      onState: (atOnce) => this.#keeper.note(atOnce),
    });
    this.#keeper = new Keeper({
      storage: host.storage,
      name: this.#name,
      state: () => ({ frame: this.core.export(), tag: this.#tag }),
      now: around.system,
    });
  }

  /** What was kept for a context, if anything. */
  static kept(host: Host, context: PageContext): Promise<Kept | undefined> {
    return load(host.storage, nameFor(host, context));
  }

  /** Begins to answer from what was kept, and to follow the server. */
  start(): void {
    const kept = this.core.open(this.kept?.frame) ? this.kept : undefined;
    this.#tag = kept?.tag;
    if (kept !== undefined) this.table.refresh(true);
    const { core, driver: ears, context } = this;
    this.link = this.host.link({ name: this.#name, context, ears, tag: this.#tag, core, onTag: (tag) => (this.#tag = tag) });
    this.driver.start(this.link, kept?.savedAt);
  }

  /** Keeps now what is still to be kept. */
  keep(): Promise<void> | undefined {
    return this.#keeper.keep();
  }

  /** Done when what it knew is kept. */
  async close(): Promise<void> {
    const kept = this.#keeper.close();
    this.driver.close();
    this.core.close();
    await kept;
  }
}

function nameFor({ base, key }: Host, context: PageContext): string {
  return nameOf(base, key, context.text);
}
