/** How a client works in a server: it has the rules, says what it serves, and tells what became of requests. */
import { Acks } from "./acks.js";
import type { Inside, Mode, Teller } from "./client.js";
import { drawn } from "./digest.js";
import type { Entry } from "./entry.js";
import { Exposures } from "./exposures.js";
import type { Count } from "./exposures.js";
import { FeedLink } from "./feed.js";
import { checkPageKey, pageMode } from "./mode-page.js";
import { ServerOutcomes } from "./server-outcomes.js";
import { post } from "./server.js";
import type { Context, Options } from "./types.js";
import { within } from "./timer.js";

/** How long a client that ends waits for the server to take what is still to be told. */
const FAREWELL_MS = 1_000;

/** By its key: a page's key in a server serves one context, as a page does; others get the rules. */
export function modeOf(options: Options): Mode {
  if (options.key.startsWith("tg_sdk-browser_")) return pageMode();
  if (typeof document !== "undefined") checkPageKey(options);
  return feedMode(options);
}

function feedMode(options: Options): Mode {
  let instance: string | undefined;
  let acks: Acks | undefined;
  // A name that no other process has.
  const named = (client: Inside) => (instance ??= options.instance ?? `js-${drawn(client.around.random)}${drawn(client.around.random)}`);
  return {
    isPage: false,
    link(client, { ears }) {
      const { base, fetch, around } = client;
      const { key } = options;
      const say = (revision: number, killIds: string[]) =>
        post(client, "/v1/feed/ack", JSON.stringify({ instance: named(client), revision, kill_ids: killIds }));
      acks?.close();
      acks = new Acks(say, around.random);
      return new FeedLink({ base, key, instance: named(client), fetch, ears, acks });
    },
    teller(client) {
      const { around } = client;
      const exposures = new Exposures({
        instance: named(client),
        elapsed: around.elapsed,
        random: around.random,
        take: () => takeCounts(client.session.table.all()),
        send: (body) => post(client, "/v1/exposures", body),
      });
      const outcomes = new ServerOutcomes(client, named(client), (body) => post(client, "/v1/outcomes", body));
      return teller(exposures, outcomes, () => acks?.close());
    },
  };
}

function teller(exposures: Exposures, outcomes: ServerOutcomes, end: () => void): Teller {
  return {
    scope: (context: Context) => outcomes.scope(context),
    // Without a request nobody knows whose it is: it counts among all that the process does.
    track: (_, outcome) => outcomes.end(undefined, [], outcome),
    fault: () => {},
    flush() {},
    due: () => Promise.all([exposures.due(), outcomes.due()]),
    async close() {
      await within(FAREWELL_MS, Promise.all([exposures.close(), outcomes.close()]));
      end();
    },
  };
}

/** How often flags gave which variant since the last call. */
function takeCounts(entries: Iterable<Entry>): Count[] {
  const counts: Count[] = [];
  for (const entry of entries) {
    entry.counts.forEach((count, at) => {
      if (count > 0) counts.push({ flag: entry.key, variant: entry.variants[at] as string, count });
    });
    entry.counts.fill(0);
  }
  return counts;
}
