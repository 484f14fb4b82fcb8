/** What pages and servers tell of what became of what they served. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { change, flag, snapshot, toldFlag } from "../testing/frames.mjs";
import { Sight } from "../testing/locks.mjs";
import { Server } from "../testing/server.mjs";
import { next, node, page } from "../testing/world.mjs";

const half = { targeting: { on: true, exposure: 50, serve: { variant: "on" } } };

/** A page whose beacons are gathered. */
async function opened(t, options = {}, flags = [flag("checkout"), flag("other"), flag("off", { targeting: { on: false, exposure: 100, serve: { variant: "on" } } })]) {
  const server = await Server.start(snapshot(7, flags));
  t.after(() => server.stop());
  const sight = new Sight();
  const beacons = [];
  const beacon = (url, text) => beacons.push({ url, ...JSON.parse(text) }) > 0;
  const client = await page(server, { context: { targetingKey: "ann" }, ...options }, { page: sight, beacon });
  t.after(() => client.close());
  return { server, client, sight, beacons };
}

test("what ended counts for the variants that were checked since the last end", async (t) => {
  const { server, client, sight, beacons } = await opened(t);
  client.bool("checkout", undefined, false);
  client.bool("off", undefined, false);
  client.track("paid", { latencyMs: 12.34, costMicros: 9 });
  client.bool("other", { targetingKey: "ann" }, false);
  client.track("failed", { bad: true });
  client.track("nothing was checked");
  sight.hide();
  const row = (key) => ({ key, revision: 3, variant: "on", split: ".exposure" });
  const [{ url, ended, faults }] = beacons;
  assert.match(url, new RegExp(`^${server.url}/v1/page/outcomes\\?token=t`));
  assert.deepEqual(ended, [
    { name: "paid", bad: false, cost_micros: 9, flags: [row("checkout")], latency_us: 12_340 },
    { name: "failed", bad: true, cost_micros: 0, flags: [row("other")] },
  ]);
  assert.deepEqual(faults, []);
});

test("a scope in a page counts for what was checked in it, and for nobody else", async (t) => {
  const { client, sight, beacons } = await opened(t);
  const scope = client.scope({ targetingKey: "ann" });
  assert.equal(scope.bool("checkout", false), true);
  client.bool("other", undefined, false);
  scope.finish({ bad: true });
  scope.finish({});
  const another = client.scope({ targetingKey: "ben" });
  another.bool("checkout", false);
  another.finish({ bad: true });
  sight.hide();
  const [{ ended }] = beacons;
  assert.deepEqual(ended.map(({ bad, flags }) => [bad, flags.map(({ key }) => key)]), [[true, ["checkout"]]]);
});

test("what ended before the page was opened for somebody else is told of who it was", async (t) => {
  const { server, client } = await opened(t);
  client.bool("checkout", undefined, false);
  client.track("paid");
  await client.setContext({ targetingKey: "ben" });
  const told = await server.until(({ path }) => path === "/v1/page/outcomes");
  assert.deepEqual(server.grants.get(told.query.get("token")), { targetingKey: "ann" });
});

test("outcomes of ten seconds go in one request, and what is too many is left out", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const sent = [];
  const { Outcomes } = inside;
  const flags = new Array(70).fill(0).map((_, n) => ({ key: `f${n}`, revision: 1, variant: "on", split: "s" }));
  const outcomes = new Outcomes({
    address: () => "https://a/o",
    forward: () => false,
    served: () => flags,
    fetch: async (url, request) => (sent.push({ url, ...JSON.parse(request.body), type: new Request(url, request).headers.get("content-type") }), new Response("")),
    beacon: undefined,
    sdk: "x/1",
    random: () => 0.5,
  });
  for (let n = 0; n < 150; n++) outcomes.end(`n${n}`, {});
  for (let n = 0; n < 3; n++) outcomes.fault({ where: "a.rs:1", message: "" });
  t.mock.timers.tick(10_499);
  assert.equal(sent.length, 0);
  t.mock.timers.tick(1);
  assert.equal(sent.length, 1);
  assert.equal(sent[0].ended.length, 64);
  assert.equal(sent[0].ended[0].flags.length, 64);
  assert.deepEqual(sent[0].faults, [{ where: "a.rs:1", sdk: "x/1", count: 3 }]);
  assert.equal(sent[0].type, "text/plain;charset=UTF-8", "no question of the browser's before it");
  t.mock.timers.tick(60_000);
  assert.equal(sent.length, 1, "nothing is told twice");
});

test("a browser that takes no beacon is asked to keep the request alive", async (t) => {
  const sent = [];
  const { Outcomes } = inside;
  const served = () => [{ key: "f", revision: 1, variant: "on", split: "s" }];
  const fetch = async (url, request) => (sent.push(request.keepalive), new Response(""));
  const make = (beacon) => new Outcomes({ address: () => "https://a/o", forward: () => false, served, fetch, beacon, sdk: "x", random: Math.random });
  for (const beacon of [undefined, () => false]) {
    const outcomes = make(beacon);
    outcomes.end("x", {});
    outcomes.flush(true);
  }
  assert.deepEqual(sent, [true, true]);
});

test("what a page notices counts for all that it was served, however long ago, until it changes", async (t) => {
  let passed = 0;
  const server = await Server.start(snapshot(7, [flag("checkout"), flag("other"), flag("unseen")]));
  t.after(() => server.stop());
  const sight = new Sight();
  const beacons = [];
  const around = { page: sight, beacon: (_, text) => beacons.push(JSON.parse(text)) > 0, elapsed: () => performance.now() + passed };
  const client = await page(server, { context: { targetingKey: "ann" }, capture: true }, around);
  t.after(() => client.close());
  client.bool("checkout", undefined, false);
  client.bool("other", undefined, false);
  client.track("paid");
  await new Promise((resolve) => setTimeout(resolve, 5));
  for (let n = 0; n < 2; n++) {
    sight.hide();
    sight.show();
    passed += 20_000;
    sight.dispatchEvent(new Event("error"));
    await assert.rejects(sight.fetch("http://127.0.0.1:1/"), TypeError);
    await new Promise(setImmediate);
  }
  client.track("nothing was checked since");
  sight.hide();
  const ended = beacons.flatMap(({ ended }) => ended);
  const both = ["checkout", "other"];
  assert.deepEqual(
    ended.map(({ name, flags }) => [name, flags.map(({ key }) => key)]),
    [["load", both], ["paid", both], ["error", both], ["fetch", both], ["error", both], ["fetch", both]],
  );
});

test("a page whose key takes no outcomes tells only what went wrong inside", async (t) => {
  const { server, client, sight, beacons } = await opened(t);
  await client.close();
  const grant = server.grant.bind(server);
  server.grant = (context) => ({ ...grant(context), takes_outcomes: false });
  const beacon = (url, text) => beacons.push({ url, ...JSON.parse(text) }) > 0;
  const other = await page(server, {}, { page: sight, beacon });
  t.after(() => other.close());
  other.bool("checkout", undefined, false);
  other.track("x");
  sight.hide();
  assert.deepEqual(beacons, []);
  t.mock.method(console, "error", () => {});
  for (let n = 0; n < 9; n++) other.fault({ where: `a.rs:${n}`, message: "" });
  other.track("y");
  sight.show();
  sight.hide();
  assert.deepEqual(beacons.map(({ ended, faults }) => [ended.length, faults.length]), [[0, 8]]);
});

test("a page whose key takes no outcomes, of a server that names no address then, tells none", async (t) => {
  const { server, client, sight, beacons } = await opened(t);
  await client.close();
  const grant = server.grant.bind(server);
  server.grant = (context) => ({ ...grant(context), outcomes: null });
  const other = await page(server, {}, { page: sight, beacon: () => assert.fail("told") });
  t.after(() => other.close());
  other.bool("checkout", undefined, false);
  other.track("x");
  sight.hide();
  assert.deepEqual(beacons, []);
});

test("errors, failed requests and the page's load count by themselves, and everything goes on as before", async (t) => {
  const { server, client, sight, beacons } = await opened(t, { capture: true });
  await new Promise((resolve) => setTimeout(resolve, 5));
  server.script = ({ path }) =>
    path === "/fine" ? { status: 200, json: "fine" } : path.endsWith("/broken") ? { status: 503, json: "sorry" } : undefined;
  const check = () => client.bool("checkout", undefined, false);
  check();
  // What is the client's own does not count.
  await sight.fetch(`${server.url}/v1/page/broken`);
  const elsewhere = await Server.start();
  t.after(() => elsewhere.stop());
  elsewhere.script = ({ path }) => ({ status: path === "/broken" ? 503 : 200, json: { path } });
  assert.deepEqual(await (await sight.fetch(`${elsewhere.url}/fine`)).json(), { path: "/fine" });
  check();
  assert.equal((await sight.fetch(`${elsewhere.url}/broken`)).status, 503);
  check();
  await assert.rejects(sight.fetch("http://127.0.0.1:1/"), TypeError);
  check();
  const abort = new AbortController();
  const aborted = sight.fetch(`${elsewhere.url}/fine`, { signal: abort.signal });
  abort.abort();
  await assert.rejects(aborted, { name: "AbortError" });
  for (let n = 0; n < 3; n++) {
    sight.dispatchEvent(new Event("error"));
    check();
    sight.dispatchEvent(new Event("unhandledrejection"));
  }
  sight.hide();
  const ended = beacons.flatMap(({ ended }) => ended);
  assert.deepEqual(ended.map(({ name, bad }) => [name, bad]), [["load", false], ["fetch", true], ["fetch", true], ["error", true]]);
  await client.close();
  assert.equal(Object.hasOwn(sight, "fetch"), true);
});

test("the load of the page counts for what was checked before it", async (t) => {
  const ended = [];
  const sight = new Sight();
  sight.document.readyState = "loading";
  const end = inside.capture({ wanted: { errors: false, fetches: false }, page: sight, base: "https://a", end: (...one) => ended.push(one), elapsed: () => 0 });
  sight.dispatchEvent(new Event("error"));
  sight.dispatchEvent(new Event("load"));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(ended, [["load", { bad: false, latencyMs: 812 }]]);
  end();
});

test("a fetch that was wrapped again by others stays theirs when the client is closed", () => {
  const sight = new Sight();
  const own = sight.fetch;
  const end = inside.capture({ wanted: true, page: sight, base: "https://a", end() {}, elapsed: () => 0 });
  const ours = sight.fetch;
  assert.notEqual(ours, own);
  const theirs = (...request) => ours(...request);
  sight.fetch = theirs;
  end();
  assert.equal(sight.fetch, theirs);
});

test("a page that has loaded before it asks for its first flags has loaded with those", async (t) => {
  const { client, sight, beacons } = await opened(t, { capture: { errors: false, fetches: false } });
  const loaded = () => beacons.flatMap(({ ended }) => ended).filter(({ name }) => name === "load");
  await new Promise((resolve) => setTimeout(resolve, 5));
  sight.hide();
  sight.show();
  assert.deepEqual(loaded(), []);
  client.bool("checkout", undefined, false);
  client.bool("other", undefined, false);
  sight.hide();
  client.bool("checkout", undefined, false);
  sight.show();
  sight.hide();
  assert.deepEqual(loaded().map(({ bad, latency_us, flags }) => [bad, latency_us, flags.map(({ key }) => key)]), [[false, 812_000, ["checkout", "other"]]]);
});

test("what a page that is left tells goes in pieces that browsers send", async () => {
  const sent = [];
  const flags = Array.from({ length: 20 }, (_, at) => ({ key: `checkout-flag-${at}`, revision: 1234, variant: "treatment", split: ".exposure" }));
  const beacon = (_, body) => Buffer.byteLength(body) <= 65_536 && sent.push(JSON.parse(body)) > 0;
  const fetch = () => assert.fail("no beacon");
  const outcomes = new inside.Outcomes({ address: () => "https://a/o", forward: () => assert.fail("to another tab"), served: () => flags, fetch, beacon, sdk: "x", random: Math.random });
  for (let n = 0; n < 64; n++) outcomes.end(`n${n}`, {});
  outcomes.flush(true);
  assert.ok(sent.length > 1);
  assert.deepEqual(sent.flatMap(({ ended }) => ended.map(({ name }) => name)), Array.from({ length: 64 }, (_, n) => `n${n}`));
});

test("what ends after a flag changed is not put down to the variant that nobody was served", async (t) => {
  const { server, client } = await opened(t, {}, [toldFlag("checkout")]);
  while (server.streams.size === 0) await new Promise(setImmediate);
  client.bool("checkout", undefined, false);
  const changed = next(client, "change");
  const told = { variant: "off", steps: [{ reason: "exposed", split: ".exposure" }], targeted: true };
  server.push(change(8, [{ put_flag: toldFlag("checkout", { revision: 8, told }) }]));
  await changed;
  assert.deepEqual(client.session.table.takeServed(false), []);
});

test("the page's own answer counts though another context had the same one before", async (t) => {
  const { client } = await opened(t, {}, [flag("rule", half)]);
  client.bool("rule", { targetingKey: "ann", plan: "other" }, false);
  client.bool("rule", undefined, false);
  assert.deepEqual(client.session.table.takeServed(false).map(({ key }) => key), ["rule"]);
});

test("requests to the app's own server are noticed where flags are served from there too, and not those that were given up", async () => {
  const ended = [];
  const sight = new Sight();
  sight.fetch = (asked, { signal } = asked) => (signal ? Promise.reject(signal.reason) : { status: 500 });
  const wanted = { errors: false, timings: false };
  const end = inside.capture({ wanted, page: sight, base: "https://a.example", end: (name) => ended.push(name), elapsed: () => 0 });
  await sight.fetch("https://a.example/v1/page");
  await sight.fetch("https://a.example/pay");
  await sight.fetch("https://a.example/pay", { signal: AbortSignal.abort("enough") }).catch(() => {});
  await sight.fetch(new Request("https://a.example/pay", { signal: AbortSignal.abort("enough") })).catch(() => {});
  await new Promise(setImmediate);
  assert.deepEqual(ended, ["fetch"]);
  end();
});
