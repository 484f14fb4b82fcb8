/** How a client comes to its server, loses it, and comes back. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { change, event, flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { memory, next, page, PAGE_KEY, standing } from "../testing/world.mjs";

/** A page that is live, with chance such that it reconnects at once. */
async function live(t, flags = [flag("checkout")], options = {}, around = { random: () => 0 }) {
  const server = await Server.start(snapshot(7, flags));
  t.after(() => server.stop());
  const client = await page(server, options, around);
  t.after(() => client.close());
  await server.until((request) => request.path === "/v1/page/stream");
  return { server, client };
}

test("a stream that is cut is taken up again where it stopped, by the token of the page that is open", async (t) => {
  const { server, client } = await live(t);
  server.push(change(8, [{ put_flag: flag("checkout", { value: false, revision: 8 }) }]));
  await next(client, "change");
  server.snapshot = snapshot(8, [flag("checkout", { value: false, revision: 8 })]);
  server.cut();
  await standing(client, "stale");
  assert.equal(client.bool("checkout", {}, true), false, "what it had last is served meanwhile");
  await standing(client, "live");
  await server.askedTimes("GET /v1/page/stream", 2);
  const [first, second] = server.asked("GET /v1/page/stream");
  assert.equal(second.query.get("token"), first.query.get("token"));
  assert.equal(second.query.get("seen"), "log-1:8");
  assert.equal(server.asked("POST /v1/page").length, 1);
});

test("a server that forgot the page opens it anew, once, before that counts as a refusal", async (t) => {
  const { server, client } = await live(t);
  server.grants.clear();
  server.cut();
  await standing(client, "stale");
  await standing(client, "live");
  await server.askedTimes("POST /v1/page", 2);
  await server.askedTimes("GET /v1/page/stream", 3);
  const paths = server.requests.slice(-3).map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(paths, ["GET /v1/page/stream", "POST /v1/page", "GET /v1/page/stream"]);
});

test("a page that is gone again right after it was opened is refused, and not opened without end", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  server.script = ({ path }) => (path === "/v1/page/stream" ? { status: 410 } : undefined);
  const client = await page(server, {}, { random: () => 0.5 });
  t.after(() => client.close());
  const status = await standing(client, "stale");
  assert.match(status.why, /410/);
  assert.equal(server.asked("POST /v1/page").length, 1);
  assert.equal(client.bool("checkout", {}, false), true, "what the page was opened with is served");
});

test("a token that is renewed on the stream is the one that the next connection uses", async (t) => {
  const { server, client } = await live(t);
  const renewed = { ...server.grant({}), tag: "" };
  server.push(`event: token\ndata: ${JSON.stringify(renewed)}\n\n`);
  server.push(kill(8, "checkout"));
  await next(client, "change");
  server.snapshot = snapshot(8, []);
  server.cut();
  await standing(client, "stale");
  await standing(client, "live");
  const stream = server.asked("GET /v1/page/stream").at(-1);
  assert.equal(stream.query.get("token"), "t2");
});

test("a token that is surely too old is not tried", async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, {}, { random: () => 0, elapsed: () => performance.now() + passed });
  passed = 2 * server.renewInMs + 1;
  server.cut();
  await standing(client, "stale");
  await standing(client, "live");
  await server.askedTimes("POST /v1/page", 2);
  assert.equal(server.requests.at(-1).path === "/v1/page/stream" || server.requests.at(-1).path === "/v1/page", true);
  assert.equal(server.asked("GET /v1/page/stream").filter(({ query }) => query.get("token") === "t1").length, 1);
});

test("a page that is opened again with what it has is told that this still holds, and is live", async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, {}, { random: () => 0, elapsed: () => performance.now() + passed });
  passed = 2 * server.renewInMs + 1;
  server.cut();
  await standing(client, "stale");
  const changes = [];
  client.on("change", (change) => changes.push(change));
  await standing(client, "live");
  assert.equal(JSON.parse(server.asked("POST /v1/page")[1].body).tag, server.tagOf({}));
  assert.deepEqual(changes, []);
});

test("a stream that is silent for too long is given up, and another one opened", async (t) => {
  const { server, client } = await live(t, undefined, { silenceMs: 60 });
  const status = await standing(client, "stale");
  assert.match(status.why, /silent/);
  await standing(client, "live");
  await server.askedTimes("GET /v1/page/stream", 2);
});

test("signs of life keep a quiet stream", { timeout: 20_000 }, async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, { silenceMs: 400 }, { random: () => 0, elapsed: () => passed });
  while (server.streams.size === 0) await new Promise(setImmediate);
  const states = [];
  client.on("status", ({ state }) => states.push(state));
  for (let beats = 0; beats < 5; beats++) {
    passed += 300;
    server.push(": hb\n\n");
    while (client.session.core.wakeAt() !== passed + 400 && !t.signal.aborted) await new Promise(setImmediate);
  }
  assert.deepEqual(states, []);
  assert.equal(server.asked("GET /v1/page/stream").length, 1);
});

for (const [status, unauthorized] of [[401, true], [403, true], [404, false]]) {
  test(`a server that answers ${status} is asked again slowly, and the client says that it stands in the way`, async (t) => {
    const server = await Server.start(snapshot(7, []));
    t.after(() => server.stop());
    server.script = () => ({ status });
    const client = await page(server, { waitMs: 30 }, { random: () => 0 });
    t.after(() => client.close());
    const offline = await standing(client, "offline");
    assert.equal(offline.unauthorized, unauthorized);
    assert.equal(client.bool("checkout", {}, true), true);
    assert.equal(client.boolDetail("checkout", {}, true).error, "not_ready");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(server.asked("POST /v1/page").length, 1, "not again before half a minute");
  });
}

test("a server that asks for patience gets it", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  let passed = 0;
  server.script = ({ path }) =>
    path === "/v1/page" && passed === 0 ? { status: 429, headers: { "retry-after": "20" } } : undefined;
  const client = await page(server, { waitMs: 30 }, { random: () => 0, elapsed: () => performance.now() + passed });
  t.after(() => client.close());
  await standing(client, "offline");
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(server.asked("POST /v1/page").length, 1);
  passed = 21_000;
  await client.refresh();
  assert.equal(client.status().state, "live");
});

test("clients that lost one server come back at moments that chance draws, none later than the bound", async (t) => {
  let chance = 0;
  const random = () => (chance = (chance + 0.618) % 1);
  let passed = 0;
  const { server, client } = await live(t, undefined, {}, { random, elapsed: () => performance.now() + passed });
  const { core } = client.session;
  const delays = [];
  for (let times = 0; times < 40; times++) {
    server.cut();
    await standing(client, "stale");
    delays.push(core.wakeAt() - performance.now() - passed);
    passed += 1_001;
    await client.refresh();
    await standing(client, "live");
    while (server.streams.size === 0) await new Promise(setImmediate);
  }
  assert.ok(delays.every((delay) => delay <= 1_000), `${delays}`);
  const spread = Math.max(...delays) - Math.min(...delays);
  assert.ok(spread > 500, `${spread}`);
});

test("a stream reads the same wherever it is cut into pieces", async (t) => {
  const { server, client } = await live(t, [flag("a"), flag("text", { value: "Grüße 🌊", off: "" })]);
  const text = Buffer.from(
    `: hb\n\n${event(change(8, [{ put_flag: flag("text", { value: "🌊", off: "", revision: 8 }) }]))}${event(kill(9, "a"))}`,
  );
  const [stream] = server.streams;
  const done = next(client, "change", ({ revision }) => revision === 9);
  for (const byte of text) {
    stream.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  await done;
  assert.equal(client.string("text", {}, ""), "🌊");
  assert.equal(client.bool("a", {}, true), false);
});

test("a stream that ends in the middle of an event leaves what was served, and the rest is heard later", async (t) => {
  const { server, client } = await live(t);
  const whole = event(kill(8, "checkout"));
  for (const at of [1, 20, whole.length - 1]) {
    server.push(whole.slice(0, at));
    const [stream] = server.streams;
    await new Promise((resolve) => stream.write("", resolve));
    server.cut();
    await standing(client, "stale");
    assert.equal(client.bool("checkout", {}, false), true);
    await standing(client, "live");
    while (server.streams.size === 0) await new Promise(setImmediate);
  }
  server.push(whole);
  await next(client, "change");
  assert.equal(client.bool("checkout", {}, true), false);
});

test("what the server sends that cannot be read leaves what was served", async (t) => {
  const { server, client } = await live(t);
  server.push('event: change\ndata: {"v":99}\n\n');
  const status = await standing(client, "stale");
  assert.match(status.why, /99/);
  assert.equal(client.bool("checkout", {}, false), true);
});

test("an answer that is no stream is none of a Tidegate server, and the client says so", async (t) => {
  const { server, client } = await live(t);
  server.script = ({ path }) => (path === "/v1/page/stream" ? { status: 200, json: {} } : undefined);
  server.cut();
  await next(client, "status", ({ why }) => /no Tidegate server; check `url`/.test(why ?? ""));
});

test("a server that is away is no reason to wait longer than was said, and is found when it is back", async (t) => {
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  const { port } = server;
  await server.stop();
  const began = performance.now();
  const client = await page(server, { waitMs: 80 }, { random: () => 0 });
  t.after(() => client.close());
  const waited = performance.now() - began;
  assert.ok(waited >= 75 && waited < 15_000, `${waited}`);
  assert.equal(client.bool("checkout", {}, false), false);
  await standing(client, "offline");
  await server.listen(port);
  t.after(() => server.stop());
  await standing(client, "live");
  assert.equal(client.bool("checkout", {}, false), true);
});

test("`start` rejects what can never work, and says what would", async () => {
  const { inside } = await import("../testing/built.mjs");
  for (const [options, says] of [
    [undefined, /address/],
    [{ url: "x y", key: "k" }, /address/],
    [{ url: "", key: "k" }, /address/],
    [{ url: "ftp://a", key: "k" }, /https/],
    [{ url: "https://a/?b=c", key: "k" }, /address/],
    [{ url: "https://a", key: "" }, /token/],
    [{ url: "https://a", key: "a b" }, /token/],
    [{ url: "https://a" }, /token/],
    [{ key: "k" }, /url/],
  ]) {
    assert.throws(() => inside.check(options), says);
  }
  assert.equal(inside.check({ url: "https://a.example/flags/", key: "k" }), "https://a.example/flags");
});

test("a refresh makes a new connection, and is done when the server was heard", async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, {}, { elapsed: () => performance.now() + passed });
  server.snapshot = snapshot(9, [flag("checkout", { value: false, revision: 9 })]);
  passed = 1_001;
  await client.refresh();
  assert.equal(client.bool("checkout", {}, true), false);
  assert.deepEqual(client.status(), { state: "live", revision: 9 });
});

test("refreshes of one moment are one, and none of them asks a server that was heard just now or wants to be left alone", async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, { waitMs: 50 }, { elapsed: () => performance.now() + passed });
  while (server.streams.size === 0) await new Promise(setImmediate);
  const asked = () => server.requests.length;
  const before = asked();
  for (let times = 0; times < 10; times++) await client.refresh();
  assert.equal(asked(), before);
  passed = 2_000;
  server.snapshot = snapshot(8, [flag("checkout", { revision: 8 })]);
  const heard = next(client, "change");
  await Promise.all(Array.from({ length: 10 }, () => client.refresh()));
  await heard;
  assert.equal(asked(), before + 1);
  server.script = () => ({ status: 503, headers: { "retry-after": "30" } });
  passed = 4_000;
  await client.refresh();
  await standing(client, "stale");
  const refused = asked();
  for (let times = 0; times < 5; times++) await client.refresh();
  assert.equal(asked(), refused);
});

test("a client that is closed lets go of its stream, and goes on answering nothing but fallbacks without throwing", async (t) => {
  const { server, client } = await live(t);
  await client.close();
  await client.close();
  while (server.streams.size > 0) await new Promise(setImmediate);
  assert.equal(typeof client.bool("checkout", {}, false), "boolean");
  await client.setContext({ targetingKey: "ben" });
  client.track("x", {});
});

for (const [title, answer, why] of [
  ["of another site", { status: 403, json: { detail: "this token is for pages of https://a, not of https://b" } },
    "the key is not accepted: this token is for pages of https://a, not of https://b; check `url` and `key` (`tidegate token create`)"],
  ["that the server gives back", { status: 401, json: { detail: `no ${PAGE_KEY}` } },
    "the key is not accepted: no …; check `url` and `key` (`tidegate token create`)"],
  ["for an address with nothing there", { status: 404, headers: { "content-type": "text/html" } },
    "the server answered 404: this is no Tidegate server; check `url` and `key` (`tidegate token create`)"],
  ["for an address with something else there", { status: 200, headers: { "content-type": "text/html" } },
    "this is no Tidegate server; check `url` and `key` (`tidegate token create`)"],
]) {
  test(`what mends a key ${title} is said in the status, and once where developers look`, async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const server = await Server.start();
    t.after(() => server.stop());
    server.script = () => answer;
    const client = await page(server, { waitMs: 20 });
    t.after(() => client.close());
    await standing(client, "offline");
    await client.refresh();
    await client.refresh();
    assert.equal(client.status().why, why);
    assert.deepEqual(warn.mock.calls.map(({ arguments: said }) => said), [[`tidegate: ${server.url}: ${why}`]]);
  });
}

test("a server that is busy is nobody's mistake, and nothing is said of it", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const server = await Server.start();
  t.after(() => server.stop());
  server.script = () => ({ status: 503, json: { detail: "later" } });
  const client = await page(server, { waitMs: 20 });
  t.after(() => client.close());
  assert.equal((await standing(client, "offline")).why, "the server answered 503");
  assert.equal(warn.mock.callCount(), 0);
});

test("a key that was refused is asked about once a second at most, however often a refresh is wanted", async (t) => {
  t.mock.method(console, "warn", () => {});
  const server = await Server.start();
  t.after(() => server.stop());
  let passed = 0;
  server.script = () => ({ status: 401 });
  const client = await page(server, { waitMs: 20 }, { elapsed: () => passed });
  t.after(() => client.close());
  await standing(client, "offline");
  for (const times of [2, 3]) {
    for (let n = 0; n < 5; n++) await client.refresh();
    assert.equal(server.requests.length, times);
    passed += 1_000;
  }
});

test("a refresh waits as the machine does where the server said what nobody can read", async (t) => {
  let passed = 0;
  const { server, client } = await live(t, undefined, { waitMs: 10 }, { random: () => 0.5, elapsed: () => passed });
  while (server.streams.size === 0) await new Promise(setImmediate);
  server.push('event: snapshot\ndata: {"v":99}\n\n');
  await standing(client, "stale");
  const before = server.requests.length;
  for (let n = 0; n < 5; n++) {
    passed += 1_001;
    await client.refresh();
  }
  assert.equal(server.requests.length, before);
});

test("a refresh of a page goes on where it stopped, and says nothing where nothing is new", async (t) => {
  let passed = 0;
  const storage = memory();
  const { server, client } = await live(t, undefined, { storage, waitMs: 20_000 }, { elapsed: () => passed });
  const set = t.mock.method(storage, "set");
  const changes = [];
  client.on("change", (change) => changes.push(change));
  passed = 1_001;
  await client.refresh();
  assert.equal(server.asked("POST /v1/page").length, 1);
  assert.equal(server.asked("GET /v1/page/stream").at(-1).query.get("seen"), "log-1:7");
  assert.deepEqual([changes, set.mock.callCount()], [[], 0]);
});

test("refreshes while the server is away leave nothing behind", async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  server.script = () => ({ hang: true });
  const client = await page(server, { waitMs: 1 });
  t.after(() => client.close());
  const { driver } = client.session;
  let done = 0;
  for (let n = 0; n < 200; n++) void driver.heard(true).then(() => done++);
  await new Promise(setImmediate);
  assert.ok(done >= 100 && done < 200, `${done} of those that waited first wait no more`);
});

test("what a server says of a mistake is cut once the key is taken out of it, and advises only where that helps", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const said = async (answer) => {
    const server = await Server.start();
    server.script = () => answer;
    const client = await page(server, { waitMs: 20 });
    await standing(client, "offline");
    await client.close();
    await server.stop();
    return client.session.driver.status.why;
  };
  assert.equal(await said({ status: 400, json: { detail: "no such attribute" } }), "the server answered 400: no such attribute");
  assert.equal(warn.mock.callCount(), 1);
  assert.equal(await said({ status: 413, json: { detail: "too large" } }), "the server answered 413");
  assert.equal(warn.mock.callCount(), 1);
  const why = await said({ status: 403, json: { detail: `${"x".repeat(290)}${PAGE_KEY}${"y".repeat(500)}` } });
  assert.ok(why.length <= 400 && !why.includes(PAGE_KEY.slice(0, 6)), why);
});

test("a module that fails to load after the client was closed changes nothing that it says", async (t) => {
  t.mock.method(console, "error", () => {});
  const { anywhere, pageMode, TidegateClient } = inside;
  let fail;
  const load = () => new Promise((_, reject) => (fail = reject));
  const client = new TidegateClient("https://a.example", { key: PAGE_KEY, waitMs: 1 }, anywhere(), pageMode(), load);
  await client.close();
  fail(new Error("away"));
  await new Promise(setImmediate);
  assert.equal(client.status().why, "the client is closed");
});

for (const status of [401, 403]) {
  test(`who mended a key that was answered ${status} and asks again is answered at once`, async (t) => {
    t.mock.method(console, "warn", () => {});
    const server = await Server.start(snapshot(7, [flag("checkout")]));
    t.after(() => server.stop());
    server.script = () => ({ status });
    const client = await page(server, { waitMs: 20_000 }, { random: () => 0, elapsed: () => 0 });
    t.after(() => client.close());
    await standing(client, "offline");
    server.script = () => undefined;
    await client.refresh();
    assert.deepEqual(client.status(), { state: "live", revision: 7 });
  });
}
