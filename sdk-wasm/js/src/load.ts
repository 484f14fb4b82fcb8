/** The module's code, from wherever it is to be had, compiled once for all clients. */
import { Module } from "./core.js";
import type { Options } from "./types.js";

export type Source = NonNullable<Options["wasm"]>;

let compiled: Promise<Module> | undefined;

/** The module; `source` is asked where it is, if no client has it already. */
export function moduleOf(source: () => Source | Promise<Source>, integrity: string | undefined): Promise<Module> {
  compiled ??= make(source, integrity);
  // The next client, or the next try, may have more luck.
  compiled.catch(() => (compiled = undefined));
  return compiled;
}

async function make(source: () => Source | Promise<Source>, integrity: string | undefined): Promise<Module> {
  return Module.of(await compile(await source(), integrity));
}

async function compile(source: Source, integrity: string | undefined): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  const isPlace = typeof source === "string" || source instanceof URL;
  const found = isPlace ? await fetch(source, { integrity }) : source;
  if (!(found instanceof Response)) return WebAssembly.compile(found);
  if (!found.ok) throw new Error(`status ${found.status} for ${found.url}`);
  // Streams are only compiled if they say what they are.
  const isTyped = found.headers.get("content-type") === "application/wasm";
  return isTyped ? WebAssembly.compileStreaming(found) : WebAssembly.compile(await found.arrayBuffer());
}
