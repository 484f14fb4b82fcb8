/** Contexts of a page: the app's, and those of checks that ask for others. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { memory, next, node, page } from "../testing/world.mjs";

const named = ({ targetingKey = "nobody" }) =>
  snapshot(3, [toldFlag("who", { value: targetingKey, off: "none", type: "string" })]);

async function open(t, shown, options = {}, around = {}) {
  const server = await Server.start(shown);
  t.after(() => server.stop());
  const client = await page(server, { context: { targetingKey: "A" }, ...options }, around);
  t.after(() => client.close());
  return { server, client };
}

const opened = (server) => server.asked("POST /v1/page").map(({ body }) => JSON.parse(body).context.targetingKey);

test("what is no context is answered with the fallback, and opens nothing", async (t) => {
  const { server, client } = await open(t, snapshot(3, [toldFlag("checkout"), flag("rule")]));
  for (const strange of [false, "u2", 7, () => {}]) {
    assert.equal(client.bool("checkout", strange, false), false);
    assert.equal(client.boolDetail("rule", strange, false).error, "invalid_context");
  }
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(opened(server), ["A"]);
  assert.equal(client.bool("checkout", null, false), true);
});

test("a check without a context means the app's, wherever a stray check led the page", async (t) => {
  const { server, client } = await open(t, named);
  const moved = next(client, "change");
  assert.equal(client.string("who", { targetingKey: "stray" }, "?"), "?");
  await moved;
  assert.equal(client.string("who", { targetingKey: "stray" }, "?"), "stray");
  const back = next(client, "change");
  assert.equal(client.stringDetail("who", undefined, "?").error, "other_context");
  await back;
  assert.equal(client.string("who", undefined, "?"), "A");
  assert.deepEqual(opened(server), ["A", "stray", "A"]);
});

test("two contexts that checks swap open the page ever more seldom", async (t) => {
  const { server, client } = await open(t, named);
  const render = () => ["A", "B"].forEach((targetingKey) => client.string("who", { targetingKey }, "?"));
  client.on("change", render);
  render();
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.deepEqual(opened(server), ["A", "B", "A"]);
});

test("who sets the same context twice has it when the second is done", async (t) => {
  const { server, client } = await open(t, named);
  server.script = async ({ path }) => void (path === "/v1/page" && (await new Promise((resolve) => setTimeout(resolve, 60))));
  const first = client.setContext({ targetingKey: "B" });
  await client.setContext({ targetingKey: "B" });
  assert.equal(client.string("who", undefined, "?"), "B");
  await first;
});

test("a kill holds though the next context was kept before it", async (t) => {
  const storage = memory();
  const server = await Server.start(snapshot(3, [flag("checkout")]));
  t.after(() => server.stop());
  const before = await page(server, { context: { targetingKey: "B" }, storage });
  await before.close();
  const client = await page(server, { context: { targetingKey: "A" }, storage });
  t.after(() => client.close());
  while (server.streams.size === 0) await new Promise(setImmediate);
  const killed = next(client, "change");
  server.push(kill(4, "checkout"));
  await killed;
  server.script = ({ path }) => (path === "/v1/page" ? { hang: true } : undefined);
  client.options.waitMs = 50;
  await client.setContext({ targetingKey: "B" });
  assert.equal(client.bool("checkout", undefined, true), false);
  assert.equal(client.boolDetail("checkout", undefined, true).error, undefined);
});

test("a server's client keeps its rules when it sets a context while its server is away", async (t) => {
  const server = await Server.start(snapshot(3, [flag("checkout")]));
  const client = await node(server);
  t.after(() => client.close());
  await server.stop();
  client.options.waitMs = 50;
  await client.setContext({ targetingKey: "B" });
  assert.equal(client.bool("checkout", {}, false), true);
});

test("a client that is closed answers fallbacks, also to what was asked before", async (t) => {
  const { client } = await open(t, snapshot(3, [toldFlag("checkout")]));
  assert.equal(client.bool("checkout", undefined, false), true);
  await client.close();
  assert.equal(client.bool("checkout", undefined, false), false);
});

test("a flag ends on its date though the clock was ahead for a while", async (t) => {
  let ahead = 0;
  const system = () => Date.now() + ahead;
  const expires = Date.now() + 600_000;
  const server = await Server.start(snapshot(3, [flag("brief", { expires: new Date(expires).toISOString() })]));
  t.after(() => server.stop());
  const client = await node(server, {}, { system });
  t.after(() => client.close());
  const at = async (moment) => {
    ahead = moment - Date.now();
    await Promise.resolve();
    return client.bool("brief", undefined, false);
  };
  assert.equal(await at(expires + 3_600_000), false);
  assert.equal(await at(expires - 1_000), true);
  assert.equal(await at(expires + 1), false);
});

test("a page knows its context again, whatever numbers and dates are in it", async (t) => {
  const of = () => ({ targetingKey: "A", age: NaN, at: new Date(0), big: 5n, list: [1, 2] });
  const { server, client } = await open(t, snapshot(3, [toldFlag("checkout")]), { context: of() });
  assert.equal(client.bool("checkout", of(), false), true);
  assert.equal(client.bool("checkout", Object.assign(Object.create({ inherited: 1 }), of()), false), true);
  assert.equal(client.boolDetail("checkout", { ...of(), age: 7 }, false).error, "other_context");
  assert.equal(opened(server).length, 1);
});

test("a getter that checks the flag for somebody else does not change the answer", async (t) => {
  const all = ["a", "b"].map((attribute) => ({ attribute, op: "in", values: ["yes"] }));
  const targeting = { on: true, exposure: 100, rules: [{ id: "r1", when: { all }, serve: { variant: "on" } }], serve: { variant: "off" } };
  const server = await Server.start(snapshot(3, [flag("rule", { targeting })]));
  t.after(() => server.stop());
  const client = await node(server);
  t.after(() => client.close());
  const asking = {
    a: "no",
    get b() {
      assert.equal(client.bool("rule", { a: "yes", b: "yes" }, null), true);
      return "yes";
    },
  };
  assert.equal(client.bool("rule", asking, null), false);
  assert.equal(client.bool("rule", { a: "yes", b: "yes" }, null), true);
});
