/** Flags in React on a server; in a page they are tested in a browser. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { bundle } from "../testing/built.mjs";
import { flag, snapshot } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { page } from "../testing/world.mjs";

const { element, renderToString, TidegateProvider, useFlag, useStatus, useTidegate } = await import(
  pathToFileURL(await bundle("testing/react.ts", { platform: "node", define: { "process.env.NODE_ENV": '"production"' } })).href
);

function Shop() {
  const theme = useFlag("theme", { dark: false });
  const shown = [useFlag("checkout", false), useFlag("title", "none"), useFlag("limit", 1), theme.dark, useStatus().state];
  return element("p", null, `${shown.join()} ${useTidegate() === undefined ? "without" : "with"} a client`);
}

test("what a server renders has fallbacks, with a client and without one, as the page's first rendering has to have", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout"), flag("title", { value: "Hello", off: "" })]));
  t.after(() => server.stop());
  const client = await page(server);
  t.after(() => client.close());
  assert.equal(renderToString(element(TidegateProvider, { client }, element(Shop))), "<p>false,none,1,false,starting with a client</p>");
  assert.equal(renderToString(element(Shop)), "<p>false,none,1,false,starting without a client</p>");
});
