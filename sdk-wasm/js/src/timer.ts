/** Timers that keep no program alive: one that has nothing else to do may end. */

export type Timer = ReturnType<typeof setTimeout> | undefined;

/** The longest that a timer can be set for: longer, and it runs at once. */
const LONGEST_MS = 0x7fffffff;

export function later(run: () => void, ms: number): Timer {
  const timer = set(run, ms);
  (timer as { unref?: () => void }).unref?.();
  return timer;
}

/** Waits for something, but no longer than this. */
export async function within(ms: number, done: Promise<unknown>): Promise<void> {
  let timer: Timer;
  const late = new Promise<void>((resolve) => (timer = set(resolve, ms)));
  await Promise.race([done, late]);
  clearTimeout(timer);
}

function set(run: () => void, ms: number): Timer {
  return setTimeout(run, Math.min(ms, LONGEST_MS));
}
