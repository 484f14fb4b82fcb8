/** What a page keeps for the next time, and what it makes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { change, flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { memory, next, page, standing } from "../testing/world.mjs";

const { browserStorage, digest, Keeper, load, nameOf } = inside;

/** Opens a page once, such that its state is kept. */
async function visited(t, flags, storage, options = {}) {
  const server = await Server.start(snapshot(7, flags));
  const client = await page(server, { storage, ...options });
  await client.close();
  t.after(() => server.stop());
  return server;
}

/** A server that does not answer. */
function silent(server) {
  server.script = () => ({ hang: true });
}

test("what was kept is served at once when the page is opened again and the server is away", async (t) => {
  const storage = memory();
  const server = await visited(t, [flag("checkout")], storage);
  silent(server);
  const began = Date.now();
  const client = await page(server, { storage, waitMs: 40 });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", {}, false), true);
  const status = client.status();
  assert.equal(status.state, "cached");
  assert.ok(status.savedAt <= began && status.savedAt > began - 10_000);
  assert.equal(client.boolDetail("checkout", {}, false).standard, "CACHED");
});

test("neither the key nor the context can be read from the name of what is kept, nor the key from what is", async (t) => {
  const storage = memory();
  await visited(t, [flag("checkout")], storage, { context: { targetingKey: "ann@example.org" } });
  const [[name, text]] = storage.kept;
  assert.match(name, /^tidegate:[0-9a-f]{16}$/);
  assert.ok(!/tg_sdk|ann@example/.test(text), text);
});

test("what was kept for one context, key or server is not served to another", async (t) => {
  const storage = memory();
  const server = await visited(t, [flag("checkout")], storage, { context: { targetingKey: "ann" } });
  silent(server);
  for (const options of [{ context: { targetingKey: "ben" } }, { context: { targetingKey: "ann" }, key: "tg_sdk-browser_x_y" }]) {
    const client = await page(server, { storage, waitMs: 20, ...options });
    assert.equal(client.bool("checkout", undefined, false), false);
    await client.close();
  }
  const client = await page(server, { storage, waitMs: 20, context: { targetingKey: "ann" } });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", undefined, false), true);
});

test("what is damaged, of another form, or no text is as good as nothing", async (t) => {
  const storage = memory();
  const server = await visited(t, [flag("checkout")], storage);
  silent(server);
  const [[name, text]] = storage.kept;
  const damaged = [
    "", "{", "null", "7", "{}", text.slice(0, -1), text.replace("checkout", "checkin"), text.replace('"v":1', '"v":2'),
    text.replace(/"savedAt":\d+/, '"savedAt":"x"'),
    JSON.stringify({ v: 1, savedAt: 5, frame: "nonsense", digest: digest("nonsense") }),
    JSON.stringify({ v: 1, savedAt: 5, frame: '{"v":99}', digest: digest('{"v":99}') }),
  ];
  for (const text of damaged) {
    storage.kept.set(name, text);
    const client = await page(server, { storage, waitMs: 10 });
    assert.equal(client.bool("checkout", {}, false), false, text);
    assert.equal(client.status().state, "starting");
    await client.close();
    assert.equal(storage.kept.get(name), text, "nothing new is kept");
  }
});

test("a kill, and all that there is, is kept before the task ends in which it came, other changes within a second", async (t) => {
  const storage = memory();
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const client = await page(server, { storage });
  t.after(() => client.close());
  await server.until((request) => request.path === "/v1/page/stream");
  const kept = () => [...storage.kept.values()].map((text) => JSON.parse(JSON.parse(text).frame).revision);
  assert.deepEqual(kept(), [7]);
  let then;
  client.on("change", () => (then = kept()));
  server.push(change(8, [{ put_flag: flag("other", { revision: 8 }) }]));
  await next(client, "change");
  assert.deepEqual(then, [7]);
  server.push(kill(9, "checkout"));
  await next(client, "change");
  assert.deepEqual(then, [9]);
});

test("a page that was killed while it was closed serves nothing guarded before the server is heard", async (t) => {
  const storage = memory();
  const guarded = new Date(Date.now() + 86_400_000).toISOString();
  const flags = [toldFlag("rollout", { guarded }), toldFlag("settled")];
  const server = await visited(t, flags, storage);
  const release = Promise.withResolvers?.() ?? (() => { let resolve; const promise = new Promise((r) => (resolve = r)); return { promise, resolve }; })();
  server.script = async ({ path }) => (path === "/v1/page" ? (await release.promise, undefined) : undefined);
  server.snapshot = snapshot(8, [{ ...toldFlag("rollout", { guarded, revision: 8 }), killed: { id: "k", at: "2026-01-01T00:00:00Z" } }, flags[1]]);
  const client = await page(server, { storage, waitMs: 40 });
  t.after(() => client.close());
  assert.equal(client.bool("rollout", undefined, true), false);
  assert.equal(client.boolDetail("rollout", undefined, true).reason, "unconfirmed");
  assert.equal(client.bool("settled", undefined, false), true);
  release.resolve();
  await standing(client, "live");
  assert.equal(client.boolDetail("rollout", undefined, true).reason, "killed_flag");
});

test("a page waits for the server before it serves what was kept, if the server answers in time", async (t) => {
  const storage = memory();
  const server = await visited(t, [flag("checkout")], storage);
  server.snapshot = snapshot(8, [flag("checkout", { revision: 8, targeting: { on: false, exposure: 100, serve: { variant: "on" } } })]);
  const client = await page(server, { storage });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", {}, true), false);
});

test("guarded flags are served as they were kept once the server says that nothing changed, and listeners hear of it", async (t) => {
  const storage = memory();
  const guarded = new Date(Date.now() + 86_400_000).toISOString();
  const server = await visited(t, [toldFlag("rollout", { guarded })], storage);
  const gate = {};
  const opened = new Promise((resolve) => (gate.open = resolve));
  server.script = async ({ path }) => (path === "/v1/page" ? (await opened, undefined) : undefined);
  const client = await page(server, { storage, waitMs: 20 });
  t.after(() => client.close());
  assert.equal(client.bool("rollout", undefined, true), false);
  const changed = next(client, "change");
  gate.open();
  assert.deepEqual(await changed, { flags: ["rollout"], killIds: [], revision: 7 });
  assert.equal(client.bool("rollout", undefined, false), true);
});

test("a guarded flag is believed again after its guard is over", async (t) => {
  const storage = memory();
  let passed = 0;
  const guarded = new Date(Date.now() + 3_600_000).toISOString();
  const server = await visited(t, [toldFlag("rollout", { guarded })], storage);
  silent(server);
  const client = await page(server, { storage, waitMs: 20 }, { system: () => Date.now() + passed });
  t.after(() => client.close());
  assert.equal(client.bool("rollout", undefined, true), false);
  passed = 3_600_001;
  await Promise.resolve();
  assert.equal(client.bool("rollout", undefined, false), true);
});

test("a flag whose date passed while the page was closed is off when it is opened again without a server", async (t) => {
  const storage = memory();
  const server = await visited(t, [flag("brief", { expires: new Date(Date.now() + 3_600_000).toISOString() })], storage);
  silent(server);
  const client = await page(server, { storage, waitMs: 20 }, { system: () => Date.now() + 3_600_001 });
  t.after(() => client.close());
  assert.equal(client.bool("brief", {}, true), false);
});

test("storage that throws, answers later, or never, costs nothing but the memory", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const no = () => { throw new Error("SecurityError"); };
  const later = async () => { throw new Error("later"); };
  for (const storage of [{ get: no, set: no, remove: no }, { get: later, set: later, remove: later }, { get: async () => null, set: async () => {}, remove: async () => {} }]) {
    const client = await page(server, { storage });
    assert.equal(client.bool("checkout", {}, false), true);
    await client.close();
  }
  const never = () => new Promise(() => {});
  const client = await page(server, { storage: { get: never, set: never, remove: never }, waitMs: 30 });
  assert.equal(client.bool("checkout", {}, false), false);
  await standing(client, "live");
  assert.equal(client.bool("checkout", {}, false), true);
  await client.close();
});

test("what cannot be kept is tried again, and what was kept before does not outlive a kill", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let frame = "old";
  let full = false;
  const kept = new Map();
  const storage = {
    get: (name) => kept.get(name) ?? null,
    set(name, text) {
      if (full) throw new Error("QuotaExceededError");
      kept.set(name, text);
    },
    remove: (name) => void kept.delete(name),
  };
  const keeper = new Keeper({ storage, name: "n", state: () => ({ frame }), now: () => 5 });
  keeper.note(true);
  assert.equal((await load(storage, "n")).frame, "old");
  frame = "killed";
  full = true;
  keeper.note(true);
  assert.equal(await load(storage, "n"), undefined);
  full = false;
  t.mock.timers.tick(30_000);
  assert.equal((await load(storage, "n")).frame, "killed");
});

test("a state too large to keep takes the place of what was kept before", async () => {
  const storage = memory(new Map([["n", "before"]]));
  new Keeper({ storage, name: "n", state: () => ({ frame: "x".repeat(1024 * 1024 + 1) }), now: () => 5 }).note(true);
  assert.equal(storage.kept.size, 0);
});

/** As browsers have it, with room for so many characters. */
function browserLike(t, room = Infinity) {
  const kept = new Map();
  const storage = {
    get length() { return kept.size; },
    key: (place) => [...kept.keys()][place] ?? null,
    getItem: (name) => kept.get(name) ?? null,
    setItem(name, text) {
      const others = [...kept].reduce((sum, [other, text]) => sum + (other === name ? 0 : text.length), 0);
      if (others + text.length > room) throw new Error("QuotaExceededError");
      kept.set(name, text);
    },
    removeItem: (name) => void kept.delete(name),
  };
  const before = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  t.after(() => (before === undefined ? delete globalThis.localStorage : Object.defineProperty(globalThis, "localStorage", before)));
  return kept;
}

test("of one origin's states the eight that were kept last stay, and nothing else of the app's is touched", (t) => {
  const kept = browserLike(t);
  kept.set("mine", "x");
  const storage = browserStorage();
  for (let at = 1; at <= 12; at++) storage.set(nameOf("https://a", "k", `context ${at}`), `{"v":1,"savedAt":${at}}`);
  const times = [...kept.values()].map((text) => JSON.parse(text.replace("x", '{"savedAt":0}')).savedAt);
  assert.deepEqual(times, [0, 5, 6, 7, 8, 9, 10, 11, 12]);
});

test("where there is no room, the states of other contexts give way, and the app's own data does not", (t) => {
  const kept = browserLike(t, 100);
  kept.set("mine", "m".repeat(40));
  const storage = browserStorage();
  storage.set("tidegate:a", "a".repeat(40));
  storage.set("tidegate:b", "b".repeat(50));
  assert.deepEqual([...kept.keys()], ["mine", "tidegate:b"]);
  assert.throws(() => storage.set("tidegate:c", "c".repeat(90)));
  assert.equal(kept.get("mine"), "m".repeat(40));
});

test("a browser that forbids storage has none", (t) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
  Object.defineProperty(globalThis, "localStorage", { get() { throw new Error("SecurityError"); }, configurable: true });
  t.after(() => (before === undefined ? delete globalThis.localStorage : Object.defineProperty(globalThis, "localStorage", before)));
  assert.equal(browserStorage(), undefined);
});

test("rules that were known for one context answer the next one without a server, and its answers do not", async (t) => {
  const server = await Server.start(snapshot(7, [flag("rules"), toldFlag("told")]));
  t.after(() => server.stop());
  const client = await page(server, { storage: memory(), context: { targetingKey: "ann" }, waitMs: 50 });
  t.after(() => client.close());
  await server.until((request) => request.path === "/v1/page/stream");
  silent(server);
  await client.setContext({ targetingKey: "ben" });
  assert.equal(client.bool("rules", undefined, false), true);
  assert.equal(client.boolDetail("told", undefined, false).error, "flag_not_found");
  assert.equal(client.status().state, "cached");
});

test("names and checksums of texts differ where the texts do", () => {
  const seen = new Set();
  for (let n = 0; n < 20_000; n++) seen.add(digest(`context ${n}`)).add(digest(`${"x".repeat(n % 70)}${n}`));
  assert.equal(seen.size, 40_000);
  assert.match(digest(""), /^[0-9a-f]{16}$/);
});

test("a keeper that is closed tries nothing again, and one whose page went out of sight does", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const tries = [];
  const full = new Error("full");
  const set = (name) => {
    tries.push(name);
    if (name === "closed") return Promise.reject(full);
    throw full;
  };
  const storage = { get: () => null, remove() {}, set };
  const keeper = (name) => new Keeper({ storage, name, state: () => ({ frame: "{}" }), now: () => 0 });
  const closed = keeper("closed");
  closed.note(true);
  await closed.close();
  const hidden = keeper("hidden");
  hidden.note(true);
  await hidden.keep();
  tries.length = 0;
  t.mock.timers.tick(30_000);
  assert.deepEqual(tries, ["hidden"]);
  await new Promise(setImmediate);
  tries.length = 0;
  hidden.note(false);
  t.mock.timers.tick(30_000);
  assert.deepEqual(tries, ["hidden"]);
});
