/** The sources as they are now, bundled for the tests, and the module that was built last. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, "../..");
const dist = join(root, "dist");

/** The file of the module. */
export const wasmFile = (() => {
  const found = readdirSync(dist).find((name) => /^tidegate-[0-9a-f]{16}\.wasm$/.test(name));
  if (found === undefined) throw new Error("there is no module yet: run `make wasm`");
  return join(dist, found);
})();

/** Bundles one file, and answers with where it is. */
export async function bundle(entry, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-js-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const outfile = join(folder, "bundle.mjs");
  const define = {
    __WASM_FILE__: JSON.stringify(pathToFileURL(wasmFile).href),
    __WASM_INTEGRITY__: '""',
    TIDEGATE_VERSION: '"0.0.0-test"',
  };
  const platform = { bundle: true, format: "esm", target: "es2022", external: ["node:*"], logLevel: "error" };
  await build({ entryPoints: [join(root, "js", entry)], outfile, define, ...platform, ...options });
  return outfile;
}

/** The insides. */
export const inside = await import(pathToFileURL(await bundle("testing/inside.ts")).href);

/** The module, compiled. */
export const wasm = await WebAssembly.compile(await readFile(wasmFile));
