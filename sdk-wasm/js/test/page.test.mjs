/** What a page is served, and how it follows its server. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { next, page, PAGE_KEY, standing } from "../testing/world.mjs";

test("a page is opened with its context in the body and the key in a header, and answers at once", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout"), flag("title", { value: "Hello", off: "" })]));
  t.after(() => server.stop());
  const client = await page(server, { context: { targetingKey: "ann", plan: "gold" } });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", { targetingKey: "ann", plan: "gold" }, false), true);
  assert.equal(client.string("title", undefined, "none"), "Hello");
  assert.deepEqual(client.status(), { state: "live", revision: 7 });
  const [opened] = server.asked("POST /v1/page");
  assert.deepEqual(JSON.parse(opened.body), { context: { plan: "gold", targetingKey: "ann" } });
  assert.equal(opened.headers.authorization, `Bearer ${PAGE_KEY}`);
  const stream = await server.until((request) => request.path === "/v1/page/stream");
  assert.equal(stream.headers.authorization, undefined);
  assert.equal(stream.query.get("seen"), "log-1:7");
  assert.ok(!/ann|gold/.test([...stream.query.values()].join()), "no address shows the context");
});

test("a kill reaches an open page, and listeners hear of it in the task in which it is served", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const client = await page(server);
  t.after(() => client.close());
  await server.until((request) => request.path === "/v1/page/stream");
  assert.equal(client.bool("checkout", {}, false), true);
  const told = next(client, "change", (change) => change.killIds.length > 0);
  let served;
  client.on("change", () => (served = client.bool("checkout", {}, true)));
  server.push(kill(8, "checkout"));
  assert.deepEqual(await told, { flags: ["checkout"], killIds: ["kill-1"], revision: 8 });
  assert.equal(served, false);
});

test("half a letter in a context is sent as the module reads it, and what only looks like one stays", async (t) => {
  const server = await Server.start(snapshot(7, [toldFlag("checkout")]));
  t.after(() => server.stop());
  const context = { targetingKey: "Ann 😀".slice(0, 5), at: { "\udfff": ["a\ud83d\ud83d\ude00"] }, path: "C:\\ud83d \\\\ud83d" };
  const client = await page(server, { context });
  t.after(() => client.close());
  const [{ body }] = server.asked("POST /v1/page");
  assert.deepEqual(JSON.parse(body).context, { targetingKey: "Ann \ufffd", at: { "\ufffd": ["a\ufffd😀"] }, path: context.path });
  assert.equal(client.bool("checkout", context, false), true, "it is the page's own");
});
