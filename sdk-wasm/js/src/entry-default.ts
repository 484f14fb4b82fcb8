/** The package in a page: a key for pages, and the module from beside this file. */
import { browser, checkPageKey, pageMode } from "./mode-page.js";
import { check, start } from "./tidegate.js";
import type { Tidegate as Public } from "./public.js";

export type * from "./types.js";

declare const __WASM_FILE__: string;
declare const __WASM_INTEGRITY__: string;

export const Tidegate: typeof Public = {
  async start(options) {
    const base = check(options);
    checkPageKey(options);
    // In one piece, so that bundlers see that the file belongs to this one.
    const wasm = () => new URL(__WASM_FILE__, import.meta.url);
    return start(options, base, { mode: pageMode(), around: browser(), wasm, integrity: __WASM_INTEGRITY__ });
  },
};
