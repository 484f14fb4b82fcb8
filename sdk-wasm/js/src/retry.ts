/** How long to leave a server alone that did not take what it was told. */
import type { Loss } from "./link.js";

export const FIRST_PAUSE_MS = 1_000;
export const LONGEST_PAUSE_MS = 60_000;

/** What to do after a try: it will never be taken, try again after a pause, or only when something else happened. */
export type Next = "forget" | "more" | { pauseMs: number };

/**
 * Clients that failed at the same moment must not come back at the same moment: a pause is anything from nothing to the whole,
 * and what a server asks for is a lower bound, to which a second or a tenth is added.
 */
export function after(loss: Loss, failures: number, random: number): Next {
  if (loss.kind === "refused") {
    const { status, retryAfterMs } = loss;
    if (status === 400 || status === 413 || status === 422) return "forget";
    if (retryAfterMs > 0) {
      const asked = Math.min(Math.max(retryAfterMs, FIRST_PAUSE_MS), LONGEST_PAUSE_MS);
      return { pauseMs: asked + random * Math.max(FIRST_PAUSE_MS, asked / 10) };
    }
    if (status > 400 && status < 429) return "more";
  }
  const whole = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(Math.max(failures - 1, 0), 6), LONGEST_PAUSE_MS);
  return { pauseMs: random * whole };
}
