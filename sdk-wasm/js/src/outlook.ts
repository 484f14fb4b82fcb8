/** Whether a page is in sight: one that is not lets its stream go after a while, and tells what it knows at once. */
import type { PageAround } from "./around.js";
import type { Timer } from "./timer.js";

export interface OutlookOptions {
  page: PageAround;
  hiddenAfterMs: number;
  onRest(resting: boolean): void;
  /** It may never come back. */
  onLeaving(): void;
}

/** Begins to look; the answer ends it. */
export function outlook({ page, hiddenAfterMs, onRest, onLeaving }: OutlookOptions): () => void {
  let timer: Timer;
  const { document } = page;
  const turned = () => {
    clearTimeout(timer);
    if (document.visibilityState === "hidden") {
      onLeaving();
      timer = setTimeout(() => onRest(true), hiddenAfterMs);
    } else onRest(false);
  };
  const gone = () => {
    clearTimeout(timer);
    onLeaving();
    // Kept pages hold neither streams nor locks.
    onRest(true);
  };
  const end = new AbortController();
  document.addEventListener("visibilitychange", turned, end);
  page.addEventListener("pagehide", gone, end);
  page.addEventListener("pageshow", turned, end);
  if (document.visibilityState === "hidden") turned();
  return () => {
    clearTimeout(timer);
    end.abort();
  };
}
