/** Checks as apps ask them: of a type, with a fallback, and never with an exception. */
import type { DetailRow } from "./core.js";
import { ContextRefused } from "./encode.js";
import type { Entry } from "./entry.js";
import type { Table } from "./table.js";
import type { Context, Detail, Problem, Standard, Status } from "./types.js";

type Asked = Context | null | undefined;

export abstract class Checks {
  /** The module's own story of the last detail, if it told one. */
  row: DetailRow | undefined;
  /** The flags; none before the module is there. */
  protected table: Table | undefined;

  abstract status(): Status;
  /** A check asked for another context than the page's; one that names none asks for the app's. */
  protected abstract onOtherContext(context: Asked): void;
  /** What checks without a context mean, while the page is open for another. */
  protected home: Context | undefined;

  bool(key: string, context: Asked, fallback: boolean): boolean {
    return this.#value(key, context, fallback, "boolean");
  }

  string(key: string, context: Asked, fallback: string): string {
    return this.#value(key, context, fallback, "string");
  }

  number(key: string, context: Asked, fallback: number): number {
    return this.#value(key, context, fallback, "number");
  }

  json<T>(key: string, context: Asked, fallback: T): T {
    return this.#value(key, context, fallback);
  }

  boolDetail(key: string, context: Asked, fallback: boolean): Detail<boolean> {
    return this.detail(key, context, fallback, "boolean");
  }

  stringDetail(key: string, context: Asked, fallback: string): Detail<string> {
    return this.detail(key, context, fallback, "string");
  }

  numberDetail(key: string, context: Asked, fallback: number): Detail<number> {
    return this.detail(key, context, fallback, "number");
  }

  jsonDetail<T>(key: string, context: Asked, fallback: T): Detail<T> {
    return this.detail(key, context, fallback);
  }

  /** With the story behind the answer. `type` is what `typeof` says; none takes any. */
  detail<T>(key: string, context: Asked, fallback: T, type?: string): Detail<T> {
    try {
      const entry = this.#find(key, context);
      if (entry === undefined) return failed(fallback, this.table?.problem ?? "not_ready");
      if (!isOf(entry, type)) return failed(fallback, "type_mismatch");
      return this.#told(entry, context);
    } catch (error) {
      return failed(fallback, error instanceof ContextRefused ? "invalid_context" : "internal");
    }
  }

  /** What the app gets. Who leaves the context out, as in a scope, means the page's own. */
  #value<T>(key: string, context: Asked, fallback: T, type?: string): T {
    if (fallback === undefined && typeof context === type) return this.#value(key, undefined, context as T, type);
    try {
      const entry = this.#find(key, context);
      if (entry !== undefined && isOf(entry, type)) return entry.value as T;
    } catch {
      // A context that cannot be read.
    }
    return fallback;
  }

  #find(key: string, context: Asked): Entry | undefined {
    const { table } = this;
    const entry = table?.find(key, context ?? this.home);
    if (entry === undefined && table?.problem === "other_context") this.onOtherContext(context);
    return entry;
  }

  #told<T>(entry: Entry, context: Asked): Detail<T> {
    const value = entry.value as T;
    const variant = entry.variants[entry.variant] as string;
    const row = this.table?.detail(entry, context ?? this.home);
    this.row = row;
    if (row === undefined) {
      return { value, variant, reason: "unconfirmed", standard: "DISABLED", revision: entry.revision };
    }
    const { reason, revision, split } = row;
    const detail: Detail<T> = { value, variant, reason, standard: this.#standard(row.standard), revision };
    if (split !== null) detail.split = split;
    return detail;
  }

  /** What was not heard of the server is not called the server's word. */
  #standard(live: Standard): Standard {
    const { state } = this.status();
    return state === "cached" ? "CACHED" : state === "stale" ? "STALE" : live;
  }
}

/** Whether the answer is of this type. Who asked for another one was not served it. */
function isOf(entry: Entry, type: string | undefined): boolean {
  if (type === undefined || typeof entry.value === type) return true;
  entry.counts[entry.variant]!--;
  entry.touched = 0;
  return false;
}

function failed<T>(value: T, error: Problem): Detail<T> {
  return { value, reason: "default", standard: "ERROR", error };
}
