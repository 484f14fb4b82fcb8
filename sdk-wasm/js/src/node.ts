/** What the package gives in Node besides. */
import type { KeptState } from "./types.js";

export * from "./public.js";

/**
 * Keeps the last good state in files of this folder: `Tidegate.start({ storage: keptIn("/var/lib/shop/flags"), … })`. The folder
 * is made if it is not there; it holds the 32 states that were kept last, which only the process's own user may read. What cannot be
 * read is as good as nothing, and what cannot be written is tried again.
 */
export declare function keptIn(folder: string): KeptState;
