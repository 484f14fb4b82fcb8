/** The package in Node: the rules with a server's key, a page's answers with a page's. */
import { readFile } from "node:fs/promises";

import { anywhere } from "./around.js";
import { modeOf } from "./mode-feed.js";
import { check, start } from "./tidegate.js";
import type { Tidegate as Public } from "./public.js";

export type * from "./types.js";
export { keptIn } from "./folder.js";

declare const __NODE_WASM_FILE__: string;

export const Tidegate: typeof Public = {
  async start(options) {
    const base = check(options);
    const wasm = () => readFile(new URL(__NODE_WASM_FILE__, import.meta.url));
    return start(options, base, { mode: modeOf(options), around: anywhere(), wasm });
  },
};
