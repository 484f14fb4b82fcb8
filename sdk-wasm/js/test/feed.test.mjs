/** A JavaScript server: it has the rules, says what it serves, and counts. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { flag, kill, snapshot } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { next, node, SERVER_KEY, standing } from "../testing/world.mjs";

const { Acks, after, Exposures, LossError } = inside;

/** A moment at which a slot begins. */
const MINUTE = Math.floor(Date.now() / 60_000) * 60_000;

async function rules(t, flags = [flag("checkout")], options = {}, around = {}) {
  const server = await Server.start(snapshot(7, flags));
  const client = await node(server, options, around);
  t.after(async () => {
    await client.close();
    await server.stop();
  });
  return { server, client };
}

test("a server follows the feed with its key in a header, under its name, and goes on where it stopped", async (t) => {
  const { server, client } = await rules(t, undefined, { instance: "shop-1" }, { random: () => 0 });
  assert.equal(client.bool("checkout", { targetingKey: "ann" }, false), true);
  assert.equal(client.bool("checkout", { targetingKey: "ben" }, false), true);
  const [first] = server.asked("GET /v1/feed");
  assert.equal(first.headers.authorization, `Bearer ${SERVER_KEY}`);
  assert.equal(first.query.get("instance"), "shop-1");
  assert.match(first.query.get("sdk"), /^tidegate-js\//);
  assert.equal(first.headers["last-event-id"], undefined);
  server.cut();
  await standing(client, "stale");
  await standing(client, "live");
  assert.equal(server.asked("GET /v1/feed")[1].headers["last-event-id"], "log-1:7");
});

test("a kill is acknowledged at once", async (t) => {
  const { server, client } = await rules(t, undefined, { instance: "shop-1" });
  const changed = next(client, "change", ({ killIds }) => killIds.length > 0);
  server.push(kill(8, "checkout"));
  await changed;
  assert.equal(client.bool("checkout", {}, true), false);
  const { body } = await server.until(({ path, body }) => path === "/v1/feed/ack" && body.includes("kill-1"));
  assert.deepEqual(JSON.parse(body), { instance: "shop-1", revision: 8, kill_ids: ["kill-1"] });
});

test("a server that asks for patience gets it, one that is away is asked ever less, and what it never takes is forgotten", () => {
  const refused = (status, seconds = 0) => ({ kind: "refused", status, retryAfterMs: seconds * 1_000 });
  const away = { kind: "failed", what: "away" };
  // Chance at its largest gives the longest pauses, at its smallest none but what is asked for.
  assert.deepEqual(after(refused(429, 7), 1, 1), { pauseMs: 8_000 });
  assert.deepEqual(after(refused(503, 7), 1, 0), { pauseMs: 7_000 });
  assert.deepEqual(after(refused(429, 86_400), 1, 1), { pauseMs: 66_000 });
  assert.deepEqual([1, 4, 400].map((failures) => after(away, failures, 1)), [1_000, 8_000, 60_000].map((pauseMs) => ({ pauseMs })));
  assert.deepEqual(after(away, 9, 0), { pauseMs: 0 });
  assert.deepEqual([400, 413, 422].map((status) => after(refused(status), 1, 1)), ["forget", "forget", "forget"]);
  assert.deepEqual([401, 403, 404].map((status) => after(refused(status), 1, 1)), ["more", "more", "more"]);
});

test("acknowledgements that could not be sent go with the next, kills each once", async () => {
  const sent = [];
  let fails = true;
  const acks = new Acks(async (revision, killIds) => {
    sent.push([revision, killIds]);
    if (fails) throw new LossError({ kind: "refused", status: 404, retryAfterMs: 0 });
  }, () => 0);
  acks.add(7, ["a"]);
  await new Promise(setImmediate);
  fails = false;
  acks.add(8, ["a", "b"]);
  await new Promise(setImmediate);
  assert.deepEqual(sent, [[7, ["a"]], [8, ["a", "b"]]]);
  const many = Array.from({ length: 70 }, (_, n) => `k${n}`);
  acks.add(9, many);
  await new Promise(setImmediate);
  assert.deepEqual(sent.slice(2).map(([, kills]) => kills.length), [32, 32, 6]);
});

test("how often flags gave which answer is told when the client ends", async (t) => {
  const { server, client } = await rules(t, [flag("checkout"), flag("other")], { instance: "shop-1" });
  for (let n = 0; n < 5; n++) client.bool("checkout", { targetingKey: `u${n}` }, false);
  client.boolDetail("checkout", {}, false);
  client.bool("other", {}, false);
  // Of another type than the flag, it gave the fallback.
  client.string("other", {}, "");
  client.numberDetail("other", {}, 0);
  client.bool("none", {}, false);
  await client.close();
  const { body } = await server.until(({ path }) => path === "/v1/exposures");
  const { instance, counts } = JSON.parse(body);
  assert.equal(instance, "shop-1");
  assert.deepEqual(counts, [
    { flag: "checkout", variant: "on", count: 6, age_s: 0 },
    { flag: "other", variant: "on", count: 1, age_s: 0 },
  ]);
});

test("counts that a server did not take are told again under the same name, and too many in pieces", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const sent = [];
  let answer = () => { throw new LossError({ kind: "failed", what: "away" }); };
  let counted = [{ flag: "f", variant: "on", count: 3 }];
  const take = () => counted.splice(0);
  let passed = 0;
  const exposures = new Exposures({ instance: "i", elapsed: () => passed, random: () => 0.5, take, send: async (body) => (sent.push(JSON.parse(body)), answer(JSON.parse(body))) });
  await exposures.tell();
  counted = [{ flag: "f", variant: "on", count: 4 }];
  answer = () => {};
  passed = 900_000;
  await exposures.tell();
  assert.deepEqual(sent.map(({ batch, counts }) => [batch.split("-")[1], counts[0].count]), [["1", 3], ["1", 3], ["2", 4]]);
  assert.equal(sent[1].counts[0].age_s, 300);
  sent.length = 0;
  counted = Array.from({ length: 1_200 }, (_, n) => ({ flag: `f${n}`, variant: "on", count: 1 }));
  let taken = 0;
  answer = ({ counts }) => {
    if (counts.length > 100) throw new LossError({ kind: "refused", status: 413, retryAfterMs: 0 });
    taken += counts.length;
  };
  await exposures.tell();
  assert.equal(taken, 1_200);
  // Two days later no server takes them, and is only told how many they were.
  answer = () => { throw new LossError({ kind: "failed", what: "away" }); };
  counted = [{ flag: "g", variant: "on", count: 2 }];
  await exposures.tell();
  counted = [{ flag: "h", variant: "on", count: 5 }];
  await exposures.tell();
  passed += 50 * 3_600_000;
  answer = () => {};
  sent.length = 0;
  await exposures.tell();
  assert.deepEqual(sent.map(({ counts, uncounted }) => [counts[0]?.flag, uncounted]), [["g", undefined], [undefined, 5]]);
});

test("a server's own context is that of checks that name none", async (t) => {
  const gold = { id: "gold", when: { attribute: "plan", op: "in", values: ["gold"] }, serve: { variant: "on" } };
  const vip = flag("vip", { targeting: { on: true, exposure: 100, serve: { variant: "off" }, rules: [gold] } });
  const { client } = await rules(t, [vip], { context: { plan: "gold" } });
  assert.equal(client.bool("vip", undefined, false), true);
  assert.equal(client.bool("vip", null, false), true);
  assert.equal(client.bool("vip", {}, true), false);
});

test("a server keeps its state where it is told to, and begins with it", async (t) => {
  const kept = new Map();
  const storage = { get: async (name) => kept.get(name) ?? null, set: async (name, text) => void kept.set(name, text), remove: async (name) => void kept.delete(name) };
  const { server, client } = await rules(t, undefined, { storage });
  await client.close();
  assert.equal(kept.size, 1);
  server.script = () => ({ hang: true });
  const again = await node(server, { storage, waitMs: 50 });
  t.after(() => again.close());
  assert.equal(again.bool("checkout", {}, false), true);
  assert.equal(again.status().state, "cached");
});

test("what became of requests is told by slots, with who was served what, and once more at the end", async (t) => {
  const { server, client } = await rules(t, [flag("checkout", { targeting: { on: true, exposure: 50, serve: { variant: "on" } } })], { instance: "shop-1" });
  for (let n = 0; n < 40; n++) {
    const scope = client.scope({ targetingKey: `user-${n}` });
    scope.bool("checkout", false);
    scope.finish({ bad: n % 10 === 0, latencyMs: 5, costMicros: 2 });
  }
  await client.close();
  const { body } = await server.until(({ path, body }) => path === "/v1/outcomes" && JSON.parse(body).summaries.length > 0);
  const { instance, slot, all, summaries } = JSON.parse(body);
  assert.equal(instance, "shop-1");
  assert.equal(Date.parse(slot) % 10_000, 0);
  const sum = (member) => summaries.reduce((sum, { outcomes }) => sum + outcomes[member], 0);
  assert.deepEqual([sum("requests"), sum("bad_requests"), sum("units"), sum("cost_micros")], [40, 4, 40, 80]);
  assert.deepEqual(new Set(summaries.map(({ variant }) => variant)), new Set(["on", "off"]));
  assert.equal(all.requests, 40);
});

test("where no timer runs a client knows all the same that it is cut off, and says so of its answers", async (t) => {
  let passed = 0;
  const around = { ...inside.edge(), elapsed: () => performance.now() + passed };
  const { client } = await rules(t, undefined, {}, around);
  assert.equal(client.status().state, "live");
  passed = 60_000;
  assert.equal(client.boolDetail("checkout", {}, false).standard, "STALE");
  const status = client.status();
  assert.equal(status.state, "stale");
  assert.match(status.why, /silent|heard/);
});

test("a refresh of a server takes all that there is, and says nothing where nothing is new", async (t) => {
  let passed = 0;
  const { server, client } = await rules(t, undefined, { waitMs: 5_000 }, { elapsed: () => performance.now() + passed });
  const changes = [];
  client.on("change", ({ flags }) => changes.push(flags));
  for (const revision of [7, 9]) {
    server.snapshot = snapshot(revision, [flag("checkout")]);
    passed += 1_001;
    await client.refresh();
    assert.equal(server.asked("GET /v1/feed").at(-1).headers["last-event-id"], undefined);
  }
  assert.deepEqual(changes, ["all"]);
  assert.deepEqual(client.status(), { state: "live", revision: 9 });
});

test("two tellings at one time tell each count, and neither takes the other's batch for its own", async () => {
  let passed = 0;
  let counted = [{ flag: "a", variant: "on", count: 1 }];
  const sent = [];
  const answers = [];
  const send = (body) => new Promise((resolve, reject) => {
    sent.push(JSON.parse(body).counts[0].flag);
    answers.push({ resolve, reject });
  });
  const exposures = new Exposures({ instance: "i", elapsed: () => passed, random: () => 0.5, take: () => counted.splice(0), send });
  void exposures.tell();
  await new Promise(setImmediate);
  passed = 61_000;
  counted = [{ flag: "b", variant: "on", count: 1 }];
  void exposures.due();
  await new Promise(setImmediate);
  answers[1].resolve();
  await new Promise(setImmediate);
  assert.deepEqual(sent, ["a", "a", "b"]);
  answers[0].resolve();
  await new Promise(setImmediate);
  answers[2].reject(new LossError({ kind: "failed", what: "away" }));
  answers[3]?.reject(new LossError({ kind: "failed", what: "away" }));
  await new Promise(setImmediate);
  const before = sent.length;
  void exposures.tell();
  await new Promise(setImmediate);
  assert.deepEqual(sent.slice(before), ["b"], "what was not taken is told again");
  answers.at(-1).resolve();
  await exposures.close();
});

test("what ended after the server said that its time is another is told all the same", async (t) => {
  let passed = 0;
  const around = { elapsed: () => performance.now() + passed, system: () => MINUTE + passed };
  const { server, client } = await rules(t, undefined, { waitMs: 5_000 }, around);
  server.script = ({ path }) => path === "/v1/outcomes" ? { status: 202, json: { now: new Date(MINUTE + passed - 60_000).toISOString() } } : undefined;
  const told = () => server.asked("POST /v1/outcomes").map(({ body }) => JSON.parse(body).all?.requests ?? 0);
  for (const most of [1, 2]) {
    client.scope({ targetingKey: "ann" }).finish();
    passed += 11_000;
    await client.refresh();
    assert.equal(told().reduce((sum, one) => sum + one, 0), most);
  }
});

test("where timers run a check does not do their work", async (t) => {
  let passed = 0;
  const { client } = await rules(t, undefined, {}, { elapsed: () => performance.now() + passed });
  passed = 60_000;
  assert.equal(client.boolDetail("checkout", {}, false).standard, "STATIC");
  assert.equal(client.status().state, "live");
});

test("where no timer runs a refresh tells what is due, once", async (t) => {
  let passed = 0;
  const around = { elapsed: () => performance.now() + passed, system: () => MINUTE + passed };
  const { server, client } = await rules(t, undefined, { waitMs: 5_000 }, around);
  server.script = ({ path }) => path === "/v1/outcomes" ? { status: 202, json: { now: new Date(around.system()).toISOString() } } : undefined;
  const scope = client.scope({ targetingKey: "ann" });
  scope.bool("checkout", false);
  scope.finish({ bad: true });
  await client.refresh();
  assert.deepEqual([server.asked("POST /v1/outcomes"), server.asked("POST /v1/exposures")], [[], []]);
  passed = 11_000;
  await client.refresh();
  const told = () => server.asked("POST /v1/outcomes").map(({ body }) => JSON.parse(body).all?.requests).filter(Boolean);
  assert.deepEqual(told(), [1]);
  assert.deepEqual(server.asked("POST /v1/exposures"), []);
  passed = 90_000;
  await client.refresh();
  assert.deepEqual(told(), [1]);
  const [{ body }, ...others] = server.asked("POST /v1/exposures");
  assert.deepEqual(others, []);
  assert.deepEqual(JSON.parse(body).counts, [{ flag: "checkout", variant: "on", count: 1, age_s: 0 }]);
  const before = server.requests.length;
  await client.refresh();
  assert.equal(server.requests.length, before);
});
