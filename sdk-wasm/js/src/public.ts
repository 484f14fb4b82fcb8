/** What the package gives, on every platform. */
import type { Client, Options } from "./types.js";

export type * from "./types.js";

export declare const Tidegate: {
  /**
   * Makes a client. Rejects only for options that can never work, and at the edge outside of a handler, where platforms let nothing
   * be asked; else it is done when the server was heard, or after `waitMs`
   * with whatever there is: checks answer, be it their fallbacks, and go on to follow the server.
   */
  start(options: Options): Promise<Client>;
};
