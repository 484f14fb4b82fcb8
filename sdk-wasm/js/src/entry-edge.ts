/**
 * The package in runtimes that compile no code at run time, and let nothing be done between requests: the module comes compiled,
 * checks judge time by themselves, and `refresh` asks the server when the app has the time.
 */
// @ts-expect-error Bundlers of these runtimes make a module of it.
import compiled from "tidegate.wasm";

import { edge } from "./around.js";
import { modeOf } from "./mode-feed.js";
import { check, start } from "./tidegate.js";
import type { Tidegate as Public } from "./public.js";

export type * from "./types.js";

export const Tidegate: typeof Public = {
  async start(options) {
    const base = check(options);
    return start(options, base, { mode: modeOf(options), around: edge(), wasm: () => compiled as WebAssembly.Module });
  },
};
