/** Checks: never an exception, never a stale answer, and the same answer as without a memory. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { change, flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { next, node, page } from "../testing/world.mjs";

const gold = { id: "gold", when: { attribute: "plan", op: "in", values: ["gold"] }, serve: { variant: "on" } };
const nested = { id: "in", when: { attribute: "user.address.country", op: "in", values: ["at"] }, serve: { variant: "on" } };

function ruled(key, rules, serve = "off", more = {}) {
  return flag(key, { targeting: { on: true, exposure: 100, serve: { variant: serve }, rules }, ...more });
}

async function rules(t, flags, around = {}) {
  const server = await Server.start(snapshot(7, flags));
  const client = await node(server, {}, around);
  t.after(async () => {
    await client.close();
    await server.stop();
  });
  return { server, client };
}

test("a check looks at what the context says now, though it is the object of the last check", async (t) => {
  const { client } = await rules(t, [ruled("vip", [gold]), ruled("near", [nested])]);
  const context = { targetingKey: "ann", plan: "gold", user: { address: { country: "at" } } };
  assert.equal(client.bool("vip", context, false), true);
  assert.equal(client.bool("vip", context, false), true);
  context.plan = "silver";
  assert.equal(client.bool("vip", context, true), false);
  assert.equal(client.bool("near", context, false), true);
  context.user.address.country = "de";
  assert.equal(client.bool("near", context, true), false);
});

test("answers with a memory are the answers without one, whatever happens in between", async (t) => {
  const split = { split: { id: "s", weights: [{ variant: "on", weight: 1 }, { variant: "off", weight: 1 }] } };
  const began = Date.now();
  let passed = 0;
  const flags = (revision, plan) => [
    ruled("a", [{ ...gold, when: { ...gold.when, values: [plan] } }], "off", { revision }),
    flag("b", { targeting: { on: true, exposure: 50, serve: { variant: "on" } }, revision }),
    flag("c", { targeting: { on: true, exposure: 100, serve: split }, revision }),
    ruled("d", [nested], "off", { revision }),
    flag("e", { expires: new Date(began + 1_000).toISOString(), revision }),
  ];
  const { server, client } = await rules(t, flags(3, "gold"), { system: () => began + passed });
  const { session } = client;
  const without = (key, context) => {
    const { Table } = inside;
    const table = new Table(session.core, { clock: client.clock, context: session.context, isPage: false });
    table.refresh(true);
    table.confirm(true);
    return table.find(key, context)?.value;
  };
  let seed = 20_261_127;
  const draw = (below) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) % below;
  const of = (values) => values[draw(values.length)];
  for (let round = 0; round < 3_000; round++) {
    passed++;
    // The clock is read anew in a new task.
    await undefined;
    if (draw(100) === 0) {
      const revision = 10 + round;
      const changed = next(client, "change");
      server.push(change(revision, flags(revision, of(["gold", "silver"])).map((put_flag) => ({ put_flag })), { follows: 0 }));
      await changed;
    }
    const context = {
      targetingKey: of([undefined, "", `user-${draw(20)}`]),
      plan: of(["gold", "silver", undefined, null, 7, ["gold"], { gold: true }]),
      user: of([undefined, { address: { country: of(["at", "de"]) } }, { address: "at" }, 3]),
      "user.address.country": of([undefined, undefined, "at"]),
    };
    const key = of(["a", "b", "c", "d", "e"]);
    const answer = client.bool(key, context, false);
    assert.equal(answer, without(key, context) ?? false, `seed of round ${round}: ${key} ${JSON.stringify(context)}`);
  }
});

test("a flag falls to its off variant on its date, without a server and without a timer", async (t) => {
  let passed = 0;
  const server = await Server.start(snapshot(7, [flag("brief", { expires: new Date(Date.now() + 3_600_000).toISOString() })]));
  const client = await node(server, {}, { system: () => Date.now() + passed });
  t.after(() => client.close());
  await server.stop();
  assert.equal(client.bool("brief", {}, false), true);
  passed = 3_600_001;
  await Promise.resolve();
  assert.equal(client.bool("brief", {}, true), false);
  assert.equal(client.boolDetail("brief", {}, true).reason, "expired");
});

test("listeners hear of it when a flag falls on its date, and of nothing before", async (t) => {
  let passed = 0;
  const began = Date.now();
  const system = () => began + passed;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = await Server.start(snapshot(7, [flag("brief", { expires: new Date(began + 60_000).toISOString() })]));
  t.after(() => server.stop());
  const client = await node(server, {}, { system, elapsed: () => 1_000 + passed });
  const heard = [];
  client.on("change", ({ flags }) => heard.push([flags, client.bool("brief", {}, true)]));
  for (const [step, expected] of [[30_000, []], [29_999, []], [1, [["all", false]]]]) {
    passed += step;
    server.push(": hb\n\n");
    t.mock.timers.tick(step);
    assert.deepEqual(heard, expected);
  }
  await client.close();
});

const hostile = {
  "null": null,
  "nothing": undefined,
  "a number": 7,
  "a text": "gold",
  "a symbol": Symbol("x"),
  "a function": () => "gold",
  "a list": ["gold"],
  "an object without a prototype": Object.assign(Object.create(null), { plan: "gold" }),
  "a getter that throws": Object.defineProperty({}, "plan", { get() { throw new Error("no"); }, enumerable: true }),
  "a proxy that throws": new Proxy({}, { get() { throw null; }, has() { throw 1; }, ownKeys() { throw 2; } }),
  "a revoked proxy": (() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy; })(),
  "a circle": (() => { const plan = {}; plan.plan = plan; return { plan }; })(),
  "a list in itself": (() => { const plan = []; plan.push(plan); return { plan }; })(),
  "a broad and deep one": (() => { let plan = "x"; for (let i = 0; i < 7; i++) plan = new Array(50).fill(plan); return { plan }; })(),
  "a half of a character": { plan: "\ud800" },
  "a large text": { plan: "x".repeat(1_000_000) },
  "a large text beyond ASCII": { plan: "ü".repeat(30_000) },
  "a bigint": { plan: 12n },
  "a date": { plan: new Date(0) },
  "a date that is none": { plan: new Date(NaN) },
  "no number": { plan: NaN },
  "no end": { plan: Infinity },
  "a map": { plan: new Map([["gold", 1]]) },
  "bytes": { plan: new Uint8Array(100_000) },
  "a key that is no text": { targetingKey: 7, plan: "gold" },
  "a getter that checks": Object.defineProperty({}, "plan", { get: () => checking.bool("vip", { plan: {} }, false) && "gold", enumerable: true }),
  "an object whose getter checks": { plan: { get gold() { return checking.bool("vip", { plan: { a: 1 } }, false); } } },
};
let checking;

for (const [name, context] of Object.entries(hostile)) {
  test(`${name} for a context gets an answer, and the next check its own`, async (t) => {
    const { client } = await rules(t, [ruled("vip", [gold]), flag("all"), ruled("any", [{ ...gold, when: { attribute: "targetingKey", op: "exists" } }])]);
    checking = client;
    const calls = {
      bool: true, string: "x", number: 7, json: {}, boolDetail: true, stringDetail: "x", numberDetail: 7, jsonDetail: {},
    };
    for (const [call, fallback] of Object.entries(calls)) {
      for (const key of ["vip", "all", "any", "none"]) {
        assert.doesNotThrow(() => client[call](key, context, fallback), call);
      }
    }
    const scope = client.scope(context);
    assert.equal(typeof scope.bool("vip", false), "boolean");
    scope.finish();
    client.track("x", null);
    assert.equal(client.bool("vip", { plan: "gold" }, false), true);
    assert.equal(client.bool("vip", { plan: "silver" }, true), false);
  });
}

test("values of another form are read as rules read them", async (t) => {
  const at = (op, values) => ({ ...gold, when: { attribute: "it", op, values } });
  const { client } = await rules(t, [
    ruled("n", [at("num_gt", [11])]),
    ruled("s", [at("in", ["Grüße", "\ufffd", ""])]),
    ruled("d", [at("date_after", ["2026-01-01T00:00:00Z"])]),
    ruled("e", [at("exists", [])]),
  ]);
  const is = (key, it) => client.bool(key, { it }, false);
  assert.deepEqual([is("n", 12n), is("n", 11n), is("n", "12"), is("n", NaN), is("n", [3, 12])], [true, false, true, false, true]);
  assert.deepEqual([is("s", "Grüße"), is("s", "\ud800"), is("s", "x\ud800"), is("s", "")], [true, true, false, true]);
  assert.deepEqual([is("d", new Date("2026-06-01")), is("d", new Date("2025-06-01")), is("d", new Date(NaN))], [true, false, false]);
  assert.deepEqual([is("e", {}), is("e", []), is("e", null), is("e", undefined), is("e", () => 1), is("e", false)], [true, true, false, false, false, true]);
});

test("what every object has is no attribute", async (t) => {
  const names = ["constructor", "toString", "__proto__"];
  const exists = (attribute, place) => ruled(`f${place}`, [{ ...gold, when: { attribute, op: "exists" } }]);
  const { client } = await rules(t, names.map(exists));
  for (const place of [0, 1, 2]) {
    assert.equal(client.bool(`f${place}`, {}, true), false, names[place]);
    assert.equal(client.bool(`f${place}`, { plan: "gold" }, true), false, names[place]);
  }
  assert.equal(client.bool("f0", { constructor: "x" }, false), true);
  assert.equal(client.bool("f0", {}, true), false);
});

test("an answer of another type is the fallback, and says so", async (t) => {
  const { client } = await rules(t, [flag("text", { value: "x", off: "" }), flag("thing", { value: { a: [1, { b: 2 }] }, off: {} })]);
  assert.equal(client.bool("text", {}, true), true);
  assert.equal(client.number("text", {}, 3), 3);
  assert.deepEqual(client.boolDetail("text", {}, true), { value: true, reason: "default", standard: "ERROR", error: "type_mismatch" });
  assert.deepEqual(client.boolDetail("none", {}, true), { value: true, reason: "default", standard: "ERROR", error: "flag_not_found" });
  assert.deepEqual(client.stringDetail("text", {}, ""), { value: "x", variant: "on", reason: "default", standard: "STATIC", revision: 3, split: ".exposure" });
  const thing = client.json("thing", {}, {});
  assert.throws(() => (thing.a[1].b = 3), TypeError);
  assert.equal(client.json("thing", {}, {}), thing, "made once");
});

test("a context that the core does not take gets the fallback, and says so", async (t) => {
  const { client } = await rules(t, [ruled("vip", [gold])]);
  let deep = "x";
  for (let i = 0; i < 20; i++) deep = [deep];
  const circle = {};
  circle.circle = circle;
  for (const plan of [deep, circle, "x".repeat(40_000), new Array(9_000).fill(1)]) {
    assert.equal(client.boolDetail("vip", { plan }, true).error, "invalid_context");
  }
  const { client: other } = await rules(t, [flag("half", { targeting: { on: true, exposure: 50, serve: { variant: "on" } } })]);
  assert.equal(other.boolDetail("half", { targetingKey: 7 }, true).error, "invalid_context");
  assert.equal(other.boolDetail("half", {}, true).reason, "no_unit");
});

test("an answer that was found for a page is given to no one else, and the page is opened for who asks", async (t) => {
  const server = await Server.start(({ targetingKey }) => snapshot(7, [toldFlag("checkout", { value: true, ...(targetingKey === "ben" ? { off_variant: "on" } : {}) })]));
  t.after(() => server.stop());
  const client = await page(server, { context: { targetingKey: "ann" } });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", { targetingKey: "ann" }, false), true);
  const changed = next(client, "change");
  for (const targetingKey of ["carl", "ben"]) {
    assert.deepEqual(client.boolDetail("checkout", { targetingKey }, false).error, "other_context");
  }
  await changed;
  assert.equal(client.bool("checkout", { targetingKey: "ben" }, false), true);
  assert.equal(client.boolDetail("checkout", { targetingKey: "ann" }, false).error, "other_context");
  const contexts = server.asked("POST /v1/page").map(({ body }) => JSON.parse(body).context.targetingKey);
  assert.deepEqual(contexts, ["ann", "ben"], "the last one wins");
});

test("a flag that travels as rules answers every context in a page", async (t) => {
  const server = await Server.start(snapshot(7, [ruled("vip", [gold])]));
  t.after(() => server.stop());
  const client = await page(server, { context: { targetingKey: "ann" } });
  t.after(() => client.close());
  assert.equal(client.bool("vip", { plan: "gold" }, false), true);
  assert.equal(client.bool("vip", { plan: "silver" }, true), false);
  assert.equal(server.asked("POST /v1/page").length, 1);
});

test("a page's context is what it was when the page was opened, though the app changes its object", async (t) => {
  const server = await Server.start(snapshot(7, [toldFlag("checkout")]));
  t.after(() => server.stop());
  const context = { targetingKey: "ann", tags: ["a", "b"], since: new Date(5) };
  const client = await page(server, { context });
  t.after(() => client.close());
  const same = { since: new Date(5), tags: ["a", "b"], targetingKey: "ann", nothing: undefined, none: null };
  assert.equal(client.bool("checkout", same, false), true);
  assert.equal(client.bool("checkout", context, false), true);
  context.tags.push("c");
  assert.equal(client.bool("checkout", context, false), false);
  assert.equal(client.bool("checkout", undefined, false), true);
});

test("a new context is served with its own flags, and the last of several wins", async (t) => {
  const server = await Server.start(({ targetingKey }) => snapshot(7, [toldFlag("who", { value: targetingKey ?? "", off: "" })]));
  t.after(() => server.stop());
  const client = await page(server, { context: { targetingKey: "ann" } });
  t.after(() => client.close());
  await Promise.all(["ben", "carl", "dora"].map((targetingKey) => client.setContext({ targetingKey })));
  if (client.string("who", undefined, "") !== "dora") await next(client, "change", () => client.string("who", undefined, "") === "dora");
  assert.equal(client.string("who", { targetingKey: "dora" }, ""), "dora");
  await assert.rejects(client.setContext({ targetingKey: 7 }), /targeting key/);
  while (server.streams.size > 1) await new Promise(setImmediate);
});

test("who leaves the context out of a check means the page's own, as in a scope", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout"), flag("title", { value: "Hello", off: "" })]));
  t.after(() => server.stop());
  const client = await page(server);
  t.after(() => client.close());
  assert.deepEqual([client.bool("checkout", false), client.string("title", "none"), client.number("none", 3)], [true, "Hello", 3]);
  assert.equal(client.bool("none", true), true);
  assert.equal(client.bool("checkout", "ann", false), false, "what is no context is none");
});

test("a wait without an end waits for the server, and a closed client is live no more", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const client = await page(server, { waitMs: Infinity });
  assert.deepEqual([client.bool("checkout", {}, false), client.status().state], [true, "live"]);
  await client.close();
  const { state, why } = client.status();
  assert.deepEqual([state, why], ["offline", "the client is closed"]);
});
