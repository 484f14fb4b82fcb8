/** What of one context's state holds for every other: the flags that travelled as rules. */
import type { Kept } from "./storage.js";

/** The state without the answers that were for one context; nothing, if nothing is left of it. */
export function carried(frame: string | undefined, savedAt: number): Kept | undefined {
  if (frame === undefined) return undefined;
  const state = JSON.parse(frame) as { body?: { snapshot?: { flags?: { told?: unknown }[] } } };
  const served = state.body?.snapshot;
  const rules = served?.flags?.filter((flag) => flag.told === undefined) ?? [];
  if (served === undefined || rules.length === 0) return undefined;
  served.flags = rules;
  return { frame: JSON.stringify(state), savedAt };
}
