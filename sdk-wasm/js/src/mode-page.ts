/** How a client works in a page. */
import { anywhere } from "./around.js";
import type { Around, PageAround } from "./around.js";
import { SDK } from "./built.js";
import { capture } from "./capture.js";
import type { Inside, Mode, Teller } from "./client.js";
import { Outcomes } from "./outcomes.js";
import type { Grant } from "./page.js";
import { addressOf, PageLink } from "./page.js";
import type { Ears } from "./link.js";
import { Remembering } from "./scope.js";
import { browserStorage } from "./storage.js";
import { TabLink } from "./tabs.js";
import type { Channel, Locks } from "./tabs.js";
import type { Context, Options } from "./types.js";

/** What a browser has around a page. */
export function browser(): Around {
  const { navigator } = globalThis as { navigator?: Partial<Navigator> };
  const around = anywhere();
  if (typeof document !== "undefined") around.page = globalThis as unknown as PageAround;
  around.storage = browserStorage();
  if (navigator?.locks && around.page !== undefined) {
    around.locks = navigator.locks as unknown as Locks;
    around.channel = (name) => new BroadcastChannel(name) as unknown as Channel;
  }
  if (navigator?.sendBeacon) around.beacon = (url, text) => (navigator as Navigator).sendBeacon(url, text);
  return around;
}

/** One page's client: a stream for its context, and outcomes for what it was served. */
export function pageMode(): Mode {
  // The one that is open; a page that is opened for another context has another.
  let outcomesAt: string | undefined;
  let tabs: TabLink | undefined;
  let outcomes: Outcomes;
  return {
    isPage: true,
    link(client, parts) {
      const { around, options, base, fetch, clock } = client;
      let tab: TabLink | undefined;
      let isOpen = false;
      const onGrant = (grant: Grant) => {
        // What ended in another context is that page's.
        if (!isOpen) outcomes.flush(false);
        isOpen = true;
        if (grant.outcomes) outcomesAt = addressOf(base, grant.outcomes);
        outcomes.takes = grant.takes_outcomes !== false;
        if (grant.now !== undefined) clock.correct(Date.parse(grant.now));
        if (grant.tag) parts.onTag(grant.tag);
        tab?.granted(grant);
      };
      const { context, tag } = parts;
      const page = (ears: Ears) =>
        new PageLink({ base, key: options.key, context: context.text, fetch, ears, tag, elapsed: around.elapsed, onGrant });
      const { locks, channel, elapsed, page: seen } = around;
      tabs = undefined;
      if (options.shareTabs !== false && locks && channel) {
        try {
          tabs = tab = new TabLink({
            name: parts.name,
            locks,
            channel,
            ears: parts.ears,
            page,
            now: () => new Date(clock.exact()).toISOString(),
            state: () => parts.core.export(),
            onEnded: (items) => outcomes.add(items),
            elapsed,
            isHidden: () => seen?.document.visibilityState === "hidden",
            id: around.random().toString(36),
          });
          return tab;
        } catch {
          // There is none, or a page that may keep nothing may not have one either.
        }
      }
      return page(parts.ears);
    },
    teller(client) {
      const { around } = client;
      outcomes = new Outcomes({
        address: () => outcomesAt,
        forward: (items) => tabs?.forward(items) ?? false,
        served: (all) => client.session.table.takeServed(all),
        fetch: client.fetch,
        beacon: around.beacon,
        sdk: SDK,
        random: around.random,
      });
      return teller(client, outcomes);
    },
  };
}

function teller(client: Inside, outcomes: Outcomes): Teller {
  const { around, options, base } = client;
  const end = outcomes.end.bind(outcomes);
  const { page, elapsed } = around;
  const uncapture = page && capture({ wanted: options.capture, base, end: outcomes.noticed.bind(outcomes), elapsed, page });
  return {
    scope: (context: Context) =>
      new Remembering(client, context, (served, outcome) => {
        // The server counts for the page's own context.
        if (context == null || client.session.context.is(context)) end("scope", outcome, served.map((one) => ({ ...one, unit: undefined })));
      }),
    track: end,
    fault: (fault) => outcomes.fault(fault),
    flush: (leaving) => outcomes.flush(leaving),
    async close() {
      uncapture?.();
      outcomes.close();
    },
  };
}

/** Throws for a key that must not be in a page. */
export function checkPageKey({ key }: Options): void {
  if (!key.startsWith("tg_sdk-browser_")) {
    throw new Error("in a page `key` has to be a token of scope sdk-browser");
  }
}
