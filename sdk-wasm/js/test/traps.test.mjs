/** What goes wrong inside the module reaches nobody. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside, wasm } from "../testing/built.mjs";
import { change, flag, kill, snapshot } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { next, node, page, standing } from "../testing/world.mjs";

/** Breaks the module's memory, such that whatever it does next goes wrong. */
function shatter() {
  new Uint8Array(module.exports.memory.buffer).fill(0xff);
}

/** All clients have this one. */
const module = await inside.moduleOf(() => wasm);

async function live(t, flags = [flag("checkout")]) {
  t.mock.method(console, "error", () => {});
  const server = await Server.start(snapshot(7, flags));
  const client = await node(server, {}, { random: () => 0 });
  t.after(async () => {
    await client.close();
    await server.stop();
  });
  return { server, client };
}

test("a module that breaks in a check is replaced, the check answers its fallback, and checks go on", async (t) => {
  const { client } = await live(t, [flag("checkout"), flag("other")]);
  const faults = [];
  client.on("error", (fault) => faults.push(fault));
  shatter();
  assert.equal(client.bool("checkout", { targetingKey: "new" }, false), false);
  assert.equal(faults.length, 1);
  assert.equal(client.bool("other", {}, false), true);
  assert.equal(console.error.mock.callCount(), 1);
  // The flag that broke it is not asked again before it changes.
  assert.equal(client.boolDetail("checkout", {}, false).error, "internal");
  await standing(client, "live");
});

test("a flag that broke the module is asked again when it changed", async (t) => {
  const { server, client } = await live(t);
  shatter();
  assert.equal(client.bool("checkout", {}, false), false);
  await standing(client, "live");
  const changed = next(client, "change", ({ revision }) => revision === 8);
  while (server.streams.size === 0) await new Promise(setImmediate);
  server.push(change(8, [{ put_flag: flag("checkout", { revision: 8 }) }]));
  await changed;
  assert.equal(client.bool("checkout", {}, false), true);
});

test("a kill that was heard is in effect in the module that comes after", async (t) => {
  const { server, client } = await live(t, [flag("checkout"), flag("other")]);
  const changed = next(client, "change", ({ killIds }) => killIds.length > 0);
  server.push(kill(8, "checkout"));
  await changed;
  server.script = () => ({ hang: true });
  shatter();
  client.bool("other", {}, false);
  assert.equal(client.bool("checkout", {}, true), false);
});

test("other clients of the same module go on", async (t) => {
  const { client } = await live(t);
  const { client: other } = await live(t, [flag("checkout", { value: "x", off: "" })]);
  assert.equal(other.string("checkout", {}, ""), "x");
  shatter();
  client.bool("checkout", { targetingKey: "new" }, false);
  assert.equal(other.string("checkout", { targetingKey: "b" }, ""), "x");
  await standing(other, "live");
  assert.equal(other.string("checkout", { targetingKey: "c" }, ""), "x");
});

test("a frame that breaks the module is not folded again at once", async (t) => {
  const { server, client } = await live(t);
  const asked = server.asked("GET /v1/feed").length;
  shatter();
  const broken = next(client, "error");
  server.push(change(8, [{ put_flag: flag("checkout", { revision: 8 }) }]));
  await broken;
  assert.equal(client.bool("checkout", {}, false), true, "what was known before is served");
  assert.equal(client.status().state, "stale");
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(server.asked("GET /v1/feed").length, asked, "not within half a minute");
  await client.refresh();
  assert.equal(server.asked("GET /v1/feed").at(-1).headers["last-event-id"], undefined, "all of it, not what broke");
});

test("a module that breaks three times in a minute is given up, and every check answers its fallback", async (t) => {
  const { client } = await live(t, ["a", "b", "c", "d"].map((key) => flag(key)));
  for (const key of ["a", "b", "c"]) {
    shatter();
    client.bool(key, {}, false);
  }
  for (const key of ["a", "b", "c", "d"]) assert.equal(client.bool(key, {}, false), false);
  assert.equal(client.boolDetail("d", {}, true).error, "not_ready");
  await client.close();
});

test("faults of pages are told with their outcomes", async (t) => {
  t.mock.method(console, "error", () => {});
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const client = await page(server);
  shatter();
  client.bool("checkout", { targetingKey: "new" }, false);
  await client.close();
  const { body } = await server.until(({ path }) => path === "/v1/page/outcomes");
  const [{ where, sdk, count }] = JSON.parse(body).faults;
  assert.equal(count, 1);
  assert.equal(sdk, "tidegate-js/0.0.0-test");
  assert.ok(where.length > 0);
});

test("a handler that throws stops neither the others nor the feed", async (t) => {
  const { server, client } = await live(t);
  const uncaught = [];
  const keep = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", (error) => uncaught.push(error.message));
  t.after(() => keep.forEach((run) => process.on("uncaughtException", run)));
  client.on("change", () => { throw new Error("the app's own mistake"); });
  const changed = next(client, "change");
  server.push(kill(8, "checkout"));
  await changed;
  await new Promise(setImmediate);
  assert.deepEqual(uncaught, ["the app's own mistake"]);
  assert.equal(client.status().state, "live");
});

test("a module that cannot be had leaves fallbacks, says why, and is tried again", async (t) => {
  t.mock.method(console, "error", () => {});
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  let fails = true;
  const options = { url: server.url, key: "tg_sdk-server_a_b", waitMs: 30 };
  const platform = { mode: inside.modeOf(options), around: { ...inside.anywhere(), random: () => 0 } };
  const client = new inside.TidegateClient(server.url, options, platform.around, platform.mode, async () => {
    if (fails) throw new Error("blocked by the page's policy");
    return inside.moduleOf(() => wasm);
  });
  t.after(() => client.close());
  await client.ready(30);
  const status = client.status();
  assert.equal(status.state, "offline");
  assert.match(status.why, /policy/);
  assert.equal(client.bool("checkout", {}, true), true);
  fails = false;
  await standing(client, "live");
  assert.equal(client.bool("checkout", {}, false), true);
});
