/** What the platform has around a client. Much of it is missing somewhere, and tests have others. */
import type { Driver } from "./driver.js";
import type { Channel, Locks } from "./tabs.js";
import type { KeptState } from "./types.js";

export interface Around {
  fetch: typeof fetch;
  elapsed(): number;
  system(): number;
  random(): number;
  /** Does what a timer should have done, where none runs between requests. */
  catchUp?(driver: Driver): void;
  /** The page, where there is one. */
  page?: PageAround;
  storage?: KeptState | undefined;
  locks?: Locks;
  channel?: (name: string) => Channel;
  beacon?: (url: string, text: string) => boolean;
}

/** As much of a page as is listened to. */
export interface PageAround {
  addEventListener(event: string, run: () => void, until: { signal: AbortSignal }): void;
  fetch: typeof fetch;
  document: {
    visibilityState: string;
    readyState: string;
    addEventListener(event: string, run: () => void, until: { signal: AbortSignal }): void;
  };
  performance?: { getEntriesByType?(type: string): ArrayLike<unknown> };
}

/** What every platform has. */
export function anywhere(): Around {
  return {
    fetch: (...request) => globalThis.fetch(...request),
    elapsed: () => performance.now(),
    system: () => Date.now(),
    // In quotes: the build gives this another name here, and the platform's stays.
    random: Math["random"],
  };
}

/** What runtimes at the edge have: nothing runs there between requests. */
export function edge(): Around {
  return {
    ...anywhere(),
    catchUp(driver) {
      if (this.elapsed() >= driver.wakesAt) driver.tick();
    },
  };
}
