/**
 * The module: the same core as the server's, which folds the feed and evaluates. There is one instance at a time, which all clients
 * share.
 *
 * Of what wasm-bindgen generates only the types are used: its classes would cost each page as much again as this file, and each
 * check a few steps more. The module's own functions are called here, as those types say.
 */
import { utf8 } from "./encode.js";
import type { InitOutput } from "../../generated/core.js";
import type { Loss } from "./link.js";
import type { Standard } from "./types.js";

/** What happened to a client. */
export type Happened = "tick" | "connected" | "ended" | "rest" | "wake" | Uint8Array | Exclude<Loss, { kind: "ended" }>;

/** What to do. */
export type Output =
  | { do: "connect"; resume: string | null }
  | { do: "disconnect" }
  | { do: "serve"; revision: number; everything: boolean; flags: string[]; kill_ids: string[] }
  | { do: "ack"; revision: number; kill_ids: string[] }
  | { do: "standing"; standing: { state: "starting" | "live" | "stale"; code?: string; why?: string } }
  | { do: "said"; name: string; data: string };

/** A flag as checks need it. */
export interface FlagRow {
  key: string;
  id: number;
  /** It is gone; nothing else is said of it. */
  gone?: boolean;
  type: "boolean" | "string" | "number" | "object";
  variants: { key: string; value: unknown }[];
  /** The variant that is served while it is off. */
  off: string;
  revision: number;
  /** The attributes that its answer may depend on. */
  needs?: string[];
  /** Until when it is not to be believed before the server was heard. */
  guarded_until?: number;
  /** It came as an answer for the page's context. */
  told?: boolean;
}

/** The story behind an answer. */
export interface DetailRow {
  variant: string;
  reason: string;
  standard: Standard;
  rule: string | null;
  split: string | null;
  unit: string | null;
  revision: number;
}

/** What `core_check_for` answers: variant | reason << 16 | serves << 24, or that there is no such flag. */
export const NO_FLAG = 0xffffffff;

/** Contexts longer than this are too large for the core. */
export const INBOX_BYTES = 65_536;

/** Text or bytes inside the module: where, and how many. */
export type Piece = [pointer: number, length: number];

/** The instance of the module, as it is now. What any of its functions throws is a trap. */
export class Module {
  /** Grows with each new instance; clients of older ones are dead. */
  generation = 0;
  exports!: InitOutput;
  /** Its memory, which each check needs: looking it up among all that is exported takes longer. */
  heap!: WebAssembly.Memory;
  readonly #module: WebAssembly.Module;

  private constructor(module: WebAssembly.Module) {
    this.#module = module;
  }

  /** The first instance is made beside the page's work: browsers of some years ago do not let a page wait for a large one. */
  static async of(module: WebAssembly.Module): Promise<Module> {
    const made = new Module(module);
    made.#begin(await WebAssembly.instantiate(module, made.#imports()));
    return made;
  }

  /** Throws the instance away and makes another, for which the next check waits. */
  renew(): void {
    this.#begin(new WebAssembly.Instance(this.#module, this.#imports()));
    this.generation++;
  }

  #imports(): WebAssembly.Imports {
    const raise = (pointer: number, length: number) => {
      throw new Error(this.#text(pointer, length));
    };
    const imports: Record<string, Record<string, () => void>> = {};
    for (const { module, name } of WebAssembly.Module.imports(this.#module)) {
      // It has one way to throw; what else it is given prepares references to objects, of which it has none.
      (imports[module] ??= {})[name] = (name.includes("_throw") ? raise : () => {}) as () => void;
    }
    return imports;
  }

  #begin(instance: WebAssembly.Instance): void {
    // Until it has begun it cannot say what is wrong.
    this.exports = instance.exports as unknown as InitOutput;
    this.heap = this.exports.memory;
    this.exports.__wbindgen_start?.();
  }

  #text(pointer: number, length: number): string {
    return new TextDecoder().decode(new Uint8Array(this.heap.buffer, pointer >>> 0, length >>> 0));
  }

  /** Puts text or bytes inside, for the next call, which takes them. */
  pass(piece: string | Uint8Array): Piece {
    const bytes = typeof piece === "string" ? utf8.encode(piece) : piece;
    const pointer = this.exports.__wbindgen_malloc(bytes.length, 1) >>> 0;
    new Uint8Array(this.heap.buffer).set(bytes, pointer);
    return [pointer, bytes.length];
  }

  /** Takes a text out. */
  take([pointer, length]: Piece): string {
    const text = this.#text(pointer, length);
    this.exports.__wbindgen_free(pointer, length, 1);
    return text;
  }

  /** Tells a client what happened; what it says to that. */
  tell(client: number, happened: Happened, elapsed: number, random: number): Output[] {
    return this.read<Output[]>(this.#happen(client, happened, elapsed, random)) ?? [];
  }

  #happen(client: number, happened: Happened, elapsed: number, random: number): Piece {
    const { exports } = this;
    if (happened instanceof Uint8Array) return exports.core_bytes(client, ...this.pass(happened), elapsed, random);
    if (typeof happened === "string") return exports[`core_${happened}`](client, elapsed, random);
    if (happened.kind === "failed") return exports.core_failed(client, ...this.pass(happened.what), elapsed, random);
    return exports.core_refused(client, happened.status, 1, happened.retryAfterMs, elapsed, random);
  }

  /** Takes JSON out; an empty text says nothing. */
  read<T>(piece: Piece): T | undefined {
    const text = this.take(piece);
    return text === "" ? undefined : (JSON.parse(text) as T);
  }
}
