/**
 * Calls of the module, such that nothing that goes wrong in there reaches the page. After a trap the instance is thrown away,
 * and a new one goes on from what was kept last; what trapped is not tried again at once, and who traps again and again
 * answers fallbacks from then on.
 */
import type { DetailRow, FlagRow, Happened, Module, Output } from "./core.js";
import { NO_FLAG } from "./core.js";
import type { Memory } from "./encode.js";
import type { Fault } from "./types.js";

type Exports = Module["exports"];

/** So many traps in so long a time are the end. */
const MOST_TRAPS = 3;
const TRAPS_WITHIN_MS = 60_000;

export interface GuardOptions {
  silenceMs: number;
  elapsed(): number;
  /** Something trapped, or was not as it should be. */
  onFault(fault: Fault): void;
  /** The module goes on from what was kept: connections and tables are of the past. */
  onReopened(culprit: string): void;
}

export class Core {
  /** What the module knew when it was asked last. */
  kept: string | undefined;
  /** It trapped too often, or is closed. */
  dead = false;
  /** Where contexts are written. */
  inbox = 0;
  readonly #module: Module | undefined;
  readonly #options: GuardOptions;
  /** The client inside the module; 0: there is none. */
  #client = 0;
  #generation = -1;
  #isUsable = false;
  #traps: number[] = [];
  /** Whether anything changed since `kept`. */
  #unkept = false;
  /** As of which the flags were read. */
  #version = 0;
  #barred = new Map<string, number>();

  constructor(module: Module | undefined, options: GuardOptions) {
    this.#module = module;
    this.#options = options;
  }

  /** Whether `kept` is all that there is to know. */
  get isKept(): boolean {
    return !this.#unkept;
  }

  /** Begins, with a frame that was kept, if there is one. Whether that is served. */
  open(cached: string | undefined): boolean {
    this.kept = cached;
    return this.#current() !== undefined && this.#isUsable;
  }

  input(happened: Happened, random: number, at: number): Output[] {
    const outputs = this.use("input", [], (_, client, module) => module.tell(client, happened, at, random));
    if (outputs.some((output) => output.do === "serve")) this.#unkept = true;
    return outputs;
  }

  /** When it wants to be told the time, on the clock of `elapsed`; Infinity: never. */
  wakeAt(): number {
    return this.use("wake", Infinity, (exports, client) => exports.core_wake_at(client));
  }

  /** The flags that changed since the last call, or all. */
  flags(all: boolean): FlagRow[] {
    return this.use("flags", [], (exports, client, module) => {
      const rows = module.read<FlagRow[]>(exports.core_flags(client, all ? 0 : this.#version));
      this.#version = exports.core_version(client) >>> 0;
      return rows ?? [];
    });
  }

  /** Answers change by themselves no earlier. */
  settledUntil(now: number): number {
    return this.use("settled", now, (exports, client) => exports.core_settled_until(client, now));
  }

  /** All that the module knows, kept for storage and for the next instance. */
  export(): string | undefined {
    if (this.#unkept) {
      const state = this.use("export", "", (exports, client, module) => module.take(exports.core_export_state(client)));
      if (state !== "") {
        this.kept = state;
        this.#unkept = false;
      }
    }
    return this.kept;
  }

  /** Where the context is written that a flag is asked for next; nothing, if the flag cannot be asked. */
  memoryFor(key: string, revision: number): Memory | undefined {
    return this.#ready(key, revision) && this.#module?.heap;
  }

  /** The answer of a flag to the context that was written there, of so many bytes. */
  check(key: string, id: number, revision: number, memory: Memory, length: number, now: number): number {
    const { exports, heap } = this.#module as Module;
    // The instance was replaced while a context was written whose getters do more than get.
    if (heap !== memory) return NO_FLAG;
    try {
      return exports.core_check_for(this.#client, id, length, now) >>> 0;
    } catch (error) {
      this.#barred.set(key, revision);
      this.#trapped("check", error);
      return NO_FLAG;
    }
  }

  /** The story behind the answer to the context that `check` took last. */
  detail(key: string, id: number, revision: number, now: number): DetailRow | undefined {
    if (this.#ready(key, revision) === undefined) return undefined;
    const { generation } = this.#module as Module;
    const row = this.use("detail", undefined, (exports, client, module) => module.read<DetailRow>(exports.core_detail(client, id, now)));
    if (generation !== this.#generation) this.#barred.set(key, revision);
    return row;
  }

  /** Calls the module, and answers the fallback if that goes wrong. */
  use<T>(where: string, fallback: T, run: (exports: Exports, client: number, module: Module) => T): T {
    const exports = this.#current();
    if (exports === undefined) return fallback;
    try {
      return run(exports, this.#client, this.#module as Module);
    } catch (error) {
      this.#trapped(where, error);
      return fallback;
    }
  }

  /** Lets go of the module. */
  close(): void {
    // One of an instance that is gone has nothing to free.
    if (this.#generation === this.#module?.generation) this.use("free", undefined, (exports, client) => exports.__wbg_core_free(client, 0));
    this.dead = true;
  }

  #ready(key: string, revision: number): Exports | undefined {
    if (this.#barred.size > 0) {
      const barred = this.#barred.get(key);
      if (barred === revision) return undefined;
      this.#barred.delete(key);
    }
    return this.#current();
  }

  /** The functions of the instance as it is now, in which there is a client. */
  #current(): Exports | undefined {
    const module = this.#module;
    if (this.dead || module === undefined) return undefined;
    if (this.#generation !== module.generation) {
      const isFirst = this.#generation === -1;
      this.#reopen(module);
      // Another client's trap took the instance away from this one.
      if (!isFirst && !this.dead) this.#options.onReopened("");
    }
    return this.dead ? undefined : module.exports;
  }

  #reopen(module: Module): void {
    const { silenceMs, elapsed } = this.#options;
    while (!this.dead && this.#generation !== module.generation) {
      this.#generation = module.generation;
      try {
        const { exports } = module;
        const [pointer, length] = this.kept === undefined ? [0, 0] : module.pass(this.kept);
        this.#client = exports.core_new(pointer, length, silenceMs, elapsed()) >>> 0;
        this.#isUsable = this.kept !== undefined && exports.core_usable(this.#client) !== 0;
        this.inbox = exports.core_inbox(this.#client) >>> 0;
        if (!this.#isUsable) this.kept = undefined;
      } catch (error) {
        // What was kept is what trapped.
        this.kept = undefined;
        this.#replace("open", error);
      }
    }
  }

  #trapped(where: string, error: unknown): void {
    this.#replace(where, error);
    if (this.#module !== undefined) this.#reopen(this.#module);
    this.#options.onReopened(where);
  }

  /** Another instance takes the place of the one that trapped, unless that happens too often. */
  #replace(where: string, error: unknown): void {
    const now = this.#options.elapsed();
    this.#traps = this.#traps.filter((at) => now - at < TRAPS_WITHIN_MS);
    this.dead = this.#traps.push(now) >= MOST_TRAPS;
    try {
      this.#module?.renew();
    } catch {
      this.dead = true;
    }
    // A panic says where it was.
    const message = messageOf(error);
    this.#options.onFault({ where: /\.rs:\d+/.test(message) ? message : where, message });
  }
}

/** What `core_check_for` answers to a context that the core does not take. */
export const REFUSED = 0xfffffffe;

/** What an error says. */
export function messageOf(error: unknown): string {
  try {
    if (!(error instanceof Error)) return String(error);
    // Some platforms only say with the cause what is the matter.
    const { cause, message } = error;
    return cause instanceof Error ? `${message}: ${cause.message}` : message;
  } catch {
    return "";
  }
}
