/**
 * The last good state, kept for the next time the page is opened: a kill at once, other changes together. What is damaged,
 * too large, or of another form is as good as nothing; a storage that refuses costs only the memory of it.
 */
import { digest } from "./digest.js";
import type { KeptState } from "./types.js";
import { later } from "./timer.js";
import type { Timer } from "./timer.js";

const FORM = 1;
/** Larger states are not kept. */
const MOST_CHARACTERS = 1024 * 1024;
/** Most states of one origin: those that were kept last. */
const MOST_STATES = 8;
const PREFIX = "tidegate:";
/** Changes within this time are kept together. */
const DEBOUNCE_MS = 1_000;
/** After this, what could not be kept is tried again. */
const RETRY_MS = 30_000;

/** What was kept. */
export interface Kept {
  frame: string;
  savedAt: number;
  tag?: string;
}

/** The name under which a state is kept, which gives away neither the key nor the context. */
export function nameOf(base: string, key: string, context: string): string {
  return PREFIX + digest(JSON.stringify([base, key, context]));
}

/** The browser's own storage, if there is one that may be used. */
export function browserStorage(): KeptState | undefined {
  let storage: Storage | undefined;
  try {
    storage = globalThis.localStorage;
  } catch {
    // It may not be used.
  }
  return storage && boundedIn(storage);
}

function boundedIn(storage: Storage): KeptState {
  return {
    get: (name) => storage.getItem(name),
    remove: (name) => storage.removeItem(name),
    set(name, text) {
      const others = ours(storage).filter((one) => one.name !== name);
      const kept = others.slice(0, MOST_STATES - 1);
      others.slice(kept.length).forEach((one) => storage.removeItem(one.name));
      try {
        storage.setItem(name, text);
      } catch {
        // It is full: what is kept for others gives way to what is in use.
        kept.forEach((one) => storage.removeItem(one.name));
        storage.setItem(name, text);
      }
    },
  };
}

/** What is ours in there, the latest first. */
function ours(storage: Storage): { name: string; savedAt: number }[] {
  const found: { name: string; savedAt: number }[] = [];
  for (let i = 0; i < storage.length; i++) {
    const name = storage.key(i);
    if (!name?.startsWith(PREFIX)) continue;
    const savedAt = Number(/"savedAt":(\d+)/.exec(storage.getItem(name) ?? "")?.[1] ?? 0);
    found.push({ name, savedAt });
  }
  return found.sort((a, b) => b.savedAt - a.savedAt);
}

/** Reads what was kept under a name, if it is whole. */
export async function load(storage: KeptState | undefined, name: string): Promise<Kept | undefined> {
  try {
    const answer = storage?.get(name);
    // What can be had at once is had at once; who never answers has nothing.
    const isHad = typeof answer === "string" || answer == null;
    const text = isHad ? answer : await Promise.race([answer, new Promise<void>((resolve) => later(resolve, DEBOUNCE_MS))]);
    if (text == null) return undefined;
    const kept = JSON.parse(text) as Kept & { v: number; digest: string };
    const isWhole = kept.v === FORM && kept.digest === digest(kept.frame);
    return isWhole && Number.isFinite(kept.savedAt) ? kept : undefined;
  } catch {
    return undefined;
  }
}

export interface KeeperOptions {
  storage: KeptState | undefined;
  name: string;
  /** What there is to keep. Asked for also where nothing is stored: the module goes on from it after a trap. */
  state(): { frame: string | undefined; tag?: string };
  now(): number;
}

/** Keeps states under one name. */
export class Keeper {
  readonly #options: KeeperOptions;
  #timer: Timer;
  #due = false;
  #closed = false;
  #writing: Promise<void> | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** There is something new; at once, or with what comes within a second. */
  note(atOnce: boolean): void {
    this.#due = true;
    if (atOnce) this.#write();
    else this.#later(DEBOUNCE_MS);
  }

  /** Keeps what waits; done when it is kept. */
  keep(): Promise<void> | undefined {
    if (this.#due) this.#write();
    return this.#writing;
  }

  /** Does so for the last time, whatever comes of it. */
  close(): Promise<void> | undefined {
    this.#closed = true;
    return this.keep();
  }

  #later(ms: number): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = later(() => this.#write(), ms);
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = false;
    const { storage, name, state, now } = this.#options;
    const { frame, tag } = state();
    if (storage === undefined || frame === undefined) return;
    try {
      // An old state in the place of one too large would bring back what is gone.
      const isLarge = frame.length > MOST_CHARACTERS;
      const text = () => JSON.stringify({ v: FORM, savedAt: now(), digest: digest(frame), tag, frame });
      const kept = isLarge ? storage.remove(name) : storage.set(name, text());
      this.#writing = kept?.then(undefined, () => this.#failed());
    } catch {
      this.#failed();
    }
  }

  /** Some day there is space again, and a kill must be in there by then. Until then an old state is worse than none. */
  #failed(): void {
    const { storage, name } = this.#options;
    try {
      storage?.remove(name)?.then(undefined, () => {});
    } catch {
      // It lets nothing be done.
    }
    this.#due = true;
    this.#later(RETRY_MS);
  }
}
