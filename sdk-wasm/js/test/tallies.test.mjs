/** Sums of what became of requests, as the core and the server understand them. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";
import { flag, snapshot } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { node } from "../testing/world.mjs";

const { bucketOf, Tallies, unitHash } = inside;
const AT = 1_800_000_000_000;

const served = (variant, unit) => ({ key: "checkout", revision: 7, split: "main", variant, unit: unit === null ? null : unitHash(unit) });
const ended = (bad, ms) => ({ bad, costMicros: 5, latencyUs: ms * 1_000 });

test("a unit's hash is the core's", async (t) => {
  const server = await Server.start(snapshot(7, [flag("half", { targeting: { on: true, exposure: 50, serve: { variant: "on" } } })]));
  const client = await node(server);
  t.after(async () => {
    await client.close();
    await server.stop();
  });
  for (const targetingKey of ["ann", "user-17", "Grüße 🌊", "x".repeat(300)]) {
    client.boolDetail("half", { targetingKey }, false);
    assert.equal(unitHash(targetingKey), client.row.unit);
  }
});

test("a latency is counted with those that differ by a sixteenth at most", () => {
  for (const us of [0, 1, 15, 16, 17, 31, 32, 33, 1_000, 65_535, 812_000, 2 ** 31, 3_600_000_000]) {
    const from = bucketOf(us);
    assert.ok(from <= us && us < from + Math.max(1, from / 16 + 1), `${us}: ${from}`);
    assert.equal(bucketOf(from), from);
  }
  assert.deepEqual([bucketOf(33), bucketOf(67), bucketOf(1_000), bucketOf(9e12)], [32, 64, 992, bucketOf(3_600_000_000)]);
});

test("requests are summed by slot and variant, and units count once", () => {
  const tallies = new Tallies();
  for (const [unit, bad, ms] of [["ann", false, 10], ["ann", true, 90], ["bob", false, 20]]) {
    tallies.add(unitHash(unit), [served("on", unit)], ended(bad, ms), AT);
  }
  tallies.add(unitHash("eve"), [served("off", "eve")], ended(false, 10), AT);
  tallies.add(undefined, [served("on", null)], ended(false, 10), AT + 10_000);
  assert.deepEqual(tallies.takeBefore(AT), []);
  const [slot] = tallies.takeBefore(AT + 10_000);
  const [on, off] = slot.summaries;
  assert.deepEqual([on.variant, on.flag, on.flag_revision, on.split, on.slot], ["on", "checkout", 7, "main", new Date(AT).toISOString()]);
  const { units, requests, bad_requests, cost_micros, latency, bad, slow } = on.outcomes;
  assert.deepEqual([units, requests, bad_requests, cost_micros], [2, 3, 1, 15]);
  assert.deepEqual(latency.map(([, count]) => count), [1, 1, 1]);
  assert.deepEqual(bad, { units: [unitHash("ann")] });
  assert.deepEqual(new Map(slow.units).get(unitHash("ann")), bucketOf(90_000));
  assert.equal(off.outcomes.requests, 1);
  assert.deepEqual([slot.all.requests, slot.all.units, slot.all.slow.complete_below], [4, 3, "0000000000000000"]);
  const [later] = tallies.takeBefore(AT + 20_000);
  assert.deepEqual([later.summaries[0].outcomes.units, later.all.requests], [0, 1]);
  assert.deepEqual(tallies.takeBefore(Infinity), []);
});

test("of many units those with the smallest hashes are told, in whatever order they came, and their number is near", () => {
  const hashes = Array.from({ length: 5_000 }, (_, n) => unitHash(`user-${n}`));
  const sums = [hashes, hashes.toReversed?.() ?? [...hashes].reverse(), [...hashes, ...hashes]].map((order) => {
    const tallies = new Tallies();
    for (const unit of order) tallies.add(unit, [{ ...served("on", null), unit }], ended(false, 1), AT);
    return tallies.takeBefore(Infinity)[0].summaries[0].outcomes;
  });
  const sorted = [...hashes].sort();
  for (const { units, served } of sums) {
    assert.deepEqual(served.units, sorted.slice(0, 256));
    assert.equal(served.complete_below, sorted[256]);
    assert.ok(Math.abs(units - 5_000) < 1_000, `${units}`);
  }
});

test("sums are bounded, and what finds no room leaves the others as they are", () => {
  const tallies = new Tallies();
  for (let n = 0; n < 20_100; n++) tallies.add(undefined, [{ ...served("on", null), key: `f${n}` }], ended(false, 1), AT);
  const [slot] = tallies.takeBefore(Infinity);
  assert.deepEqual([slot.summaries.length, slot.all.requests], [20_000, 20_100]);
  tallies.add(undefined, [served("on", null)], ended(false, 1), AT);
  assert.equal(tallies.takeBefore(Infinity)[0].summaries.length, 1);
});
