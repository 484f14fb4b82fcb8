/** Tabs that share a stream, and pages out of sight. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { change, event, flag, kill, NEVER, snapshot } from "../testing/frames.mjs";
import { inside } from "../testing/built.mjs";
import { locks, Sight } from "../testing/locks.mjs";
import { Server } from "../testing/server.mjs";
import { memory, next, page, standing } from "../testing/world.mjs";

const KILLED = { killed: { id: "kill-1", at: "2026-01-01T00:00:00Z" }, revision: 8 };

/** An origin whose tabs share locks and channels. */
async function origin(t, flags = [flag("checkout")]) {
  const server = await Server.start(snapshot(7, flags));
  t.after(() => server.stop());
  const shared = locks();
  const channels = [];
  const channel = (name) => {
    channels.push(new BroadcastChannel(name));
    return channels.at(-1);
  };
  const open = async (options = {}, around = {}) => {
    const sight = new Sight();
    const client = await page(server, options, { locks: shared, channel, page: sight, random: Math.random, ...around });
    t.after(() => client.close());
    return { client, sight };
  };
  return { server, shared, channels, open };
}

const streamed = (server) => server.asked("GET /v1/page/stream").length;

test("tabs of one context share one stream, and a kill reaches all of them", async (t) => {
  const { server, open } = await origin(t);
  const tabs = [];
  for (let at = 0; at < 4; at++) tabs.push((await open()).client);
  for (const client of tabs) assert.equal((await standing(client, "live")).revision, 7);
  assert.equal(server.asked("POST /v1/page").length, 1);
  assert.equal(streamed(server), 1);
  const heard = tabs.map((client) => next(client, "change", ({ killIds }) => killIds.length > 0));
  server.push(kill(8, "checkout"));
  await Promise.all(heard);
  for (const client of tabs) assert.equal(client.bool("checkout", {}, true), false);
});

test("a tab that comes in the middle of an event hears the whole of it", async (t) => {
  const { server, open } = await origin(t);
  await open();
  while (server.streams.size === 0) await new Promise(setImmediate);
  const whole = event(kill(8, "checkout"));
  server.push(whole.slice(0, 40));
  const { client } = await open();
  const heard = next(client, "change", ({ killIds }) => killIds.length > 0);
  server.push(whole.slice(40));
  await heard;
  assert.equal(client.bool("checkout", {}, true), false);
});

test("when the tab that leads is closed another one goes on, and nobody notices", async (t) => {
  const { server, open } = await origin(t);
  const first = await open();
  const others = [(await open()).client, (await open()).client];
  const states = [];
  others.forEach((client) => client.on("status", ({ state }) => states.push(state)));
  await first.client.close();
  await server.askedTimes("GET /v1/page/stream", 2);
  while (server.streams.size !== 1) await new Promise(setImmediate);
  const heard = others.map((client) => next(client, "change"));
  server.push(kill(8, "checkout"));
  await Promise.all(heard);
  assert.deepEqual(states.filter((state) => state !== "live"), []);
  assert.equal(server.asked("POST /v1/page").length, 1, "the page that is open stays open");
});

test("tabs of different contexts have streams of their own", async (t) => {
  const { server, open } = await origin(t);
  await open({ context: { targetingKey: "ann" } });
  await open({ context: { targetingKey: "ben" } });
  await server.askedTimes("GET /v1/page/stream", 2);
});

test("a tab that does not share has a stream of its own", async (t) => {
  const { server, open } = await origin(t);
  await open();
  await open({ shareTabs: false });
  await server.askedTimes("GET /v1/page/stream", 2);
});

test("a tab whose leader is asleep follows a stream of its own after a moment", async (t) => {
  const { server, shared, channels, open } = await origin(t);
  await open();
  channels[0].onmessage = null;
  const second = await open();
  assert.equal(second.client.status().state, "live");
  await server.askedTimes("POST /v1/page", 2);
  assert.equal(shared.holders(), 1);
});

test("a server that is lost is lost to all tabs, and one of them brings all back", async (t) => {
  const { server, open } = await origin(t);
  const tabs = [(await open()).client, (await open()).client, (await open()).client];
  while (server.streams.size === 0) await new Promise(setImmediate);
  const stale = tabs.map((client) => standing(client, "stale"));
  server.cut();
  await Promise.all(stale);
  await Promise.all(tabs.map((client) => standing(client, "live")));
  server.push(change(9, [{ put_flag: flag("checkout", { value: false, revision: 9 }) }]));
  await Promise.all(tabs.map((client) => client.bool("checkout", {}, true) === false || next(client, "change")));
  for (const client of tabs) assert.equal(client.bool("checkout", {}, true), false);
});

test("tabs whose leader fell silent come back with it", async (t) => {
  const { server, open } = await origin(t);
  const tabs = [];
  for (let at = 0; at < 3; at++) tabs.push((await open({ silenceMs: 1_000 })).client);
  await Promise.all(tabs.map((client) => standing(client, "stale")));
  const beats = setInterval(() => server.push(": hb\n\n"), 50);
  t.after(() => clearInterval(beats));
  await Promise.all(tabs.map((client) => standing(client, "live")));
  // Also for those who come back once more.
  server.snapshot = snapshot(8, [{ ...flag("checkout"), ...KILLED }]);
  server.push(kill(8, "checkout"));
  await Promise.all(tabs.map((client) => client.bool("checkout", {}, true) === false || next(client, "change")));
});

test("a tab that follows another has the server's time, and not that of a while ago", async (t) => {
  const [minute, hour] = [60_000, 3_600_000];
  const began = Date.now();
  const { server, open } = await origin(t, [flag("brief", { expires: new Date(began + hour + 10 * minute).toISOString() })]);
  const grant = server.grant.bind(server);
  server.grant = (context) => ({ ...grant(context), now: new Date(began + hour).toISOString() });
  let passed = 0;
  const system = () => began + passed;
  const { client: first } = await open({}, { system });
  passed = 5 * minute;
  const { client: second } = await open({}, { system });
  assert.equal(server.asked("POST /v1/page").length, 1);
  for (const client of [first, second]) assert.equal(client.bool("brief", {}, false), true);
  passed = 10 * minute + 1;
  await Promise.resolve();
  for (const client of [first, second]) assert.equal(client.bool("brief", {}, true), false);
});

test("a page out of sight lets its stream go after a while, and catches up when it is seen again", async (t) => {
  const { server, open } = await origin(t);
  const { client, sight } = await open({ hiddenAfterMs: 20 });
  while (server.streams.size === 0) await new Promise(setImmediate);
  sight.hide();
  while (server.streams.size > 0) await new Promise(setImmediate);
  server.snapshot = snapshot(9, [flag("checkout", { value: false, revision: 9 })]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(streamed(server), 1, "it stays away");
  assert.equal(client.bool("checkout", {}, false), true);
  const caught = next(client, "change");
  sight.show();
  await caught;
  assert.equal(client.bool("checkout", {}, true), false);
});

test("a page that is out of sight for a moment only keeps its stream", async (t) => {
  const { server, open } = await origin(t);
  const { sight } = await open({ hiddenAfterMs: 60 });
  while (server.streams.size === 0) await new Promise(setImmediate);
  sight.hide();
  sight.show();
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.equal(server.streams.size, 1);
  assert.equal(streamed(server), 1);
});

test("a leader out of sight gives the lead to a tab that is seen", async (t) => {
  const { server, shared, open } = await origin(t);
  const first = await open({ hiddenAfterMs: 10 });
  const second = await open({ hiddenAfterMs: 10 });
  while (server.streams.size === 0) await new Promise(setImmediate);
  first.sight.hide();
  await server.askedTimes("GET /v1/page/stream", 2);
  while (server.streams.size !== 1) await new Promise(setImmediate);
  assert.equal(shared.holders(), 1);
  const heard = next(second.client, "change");
  server.push(kill(8, "checkout"));
  await heard;
  assert.equal(first.client.bool("checkout", {}, false), true, "out of sight it hears nothing");
  server.snapshot = snapshot(8, [{ ...flag("checkout"), killed: { id: "kill-1", at: "2026-01-01T00:00:00Z" }, revision: 8 }]);
  const caught = next(first.client, "change");
  first.sight.show();
  await caught;
  assert.equal(first.client.bool("checkout", {}, true), false);
  assert.equal(streamed(server), 2, "by the stream of the other tab");
});

test("a page that is left holds neither stream nor lock, and one that comes back has both", async (t) => {
  const { server, shared, open } = await origin(t);
  const { sight } = await open();
  while (server.streams.size === 0) await new Promise(setImmediate);
  sight.leave();
  while (server.streams.size > 0) await new Promise(setImmediate);
  await new Promise(setImmediate);
  assert.equal(shared.holders(), 0);
  sight.dispatchEvent(new Event("pageshow"));
  while (server.streams.size === 0) await new Promise(setImmediate);
  assert.equal(shared.holders(), 1);
});

test("what others say on the channel that makes no sense changes nothing", async (t) => {
  const { channels, open } = await origin(t);
  const { client } = await open();
  const stranger = new BroadcastChannel(channels[0].name);
  t.after(() => stranger.close());
  for (const said of [null, 7, "x", {}, { say: "state" }, { say: "bytes", bytes: 7 }, { say: "grant" }, { say: "ended", items: 3 }, { say: "lost" }]) {
    stranger.postMessage(said);
  }
  const echo = next(client, "error").then(() => assert.fail("a fault"));
  await Promise.race([echo, new Promise((resolve) => setTimeout(resolve, 50))]);
  assert.equal(client.bool("checkout", {}, false), true);
  assert.equal(client.status().state, "live");
});

/** Channels that fall asleep when told to, and lose what is said meanwhile. */
function sleepers() {
  const all = [];
  const channel = (name) => {
    const one = {
      name,
      onmessage: null,
      postMessage(said) {
        if (one.asleep) return;
        const copy = structuredClone(said);
        const others = all.filter((other) => other !== one && other.name === name && !other.asleep);
        others.forEach((other) => setImmediate(() => other.onmessage?.({ data: copy })));
      },
      close: () => void all.splice(all.indexOf(one), 1),
    };
    all.push(one);
    return one;
  };
  return { all, channel };
}

test("a tab that followed one that was discarded misses no kill that another one heard meanwhile", async (t) => {
  const { server, open } = await origin(t);
  const { all, channel } = sleepers();
  const first = await open({}, { channel });
  while (server.streams.size === 0) await new Promise(setImmediate);
  const [asleep] = server.streams;
  const leader = all[0];
  leader.asleep = true;
  const second = await open({}, { channel });
  while (server.streams.size < 2) await new Promise(setImmediate);
  leader.asleep = false;
  const third = await open({}, { channel });
  assert.equal(server.streams.size, 2);
  leader.asleep = true;
  server.snapshot = snapshot(8, [{ ...flag("checkout"), ...KILLED }]);
  const heard = next(second.client, "change");
  for (const stream of server.streams) if (stream !== asleep) stream.write(event(kill(8, "checkout")));
  await heard;
  assert.equal(third.client.bool("checkout", {}, true), true);
  const caught = next(third.client, "change");
  await first.client.close();
  await caught;
  assert.equal(third.client.bool("checkout", {}, true), false);
});

test("a tab does not take over what is older than what it knows", async (t) => {
  const { server, open } = await origin(t);
  const { client } = await open();
  while (server.streams.size === 0) await new Promise(setImmediate);
  const killed = next(client, "change");
  server.push(kill(8, "checkout"));
  await killed;
  const frame = (revision) => JSON.stringify(snapshot(revision, [flag("checkout")]));
  assert.equal(inside.isOlder(frame(7), client.session.core.export()), true);
  assert.equal(inside.isOlder(frame(8), client.session.core.export()), false);
  assert.equal(inside.isOlder(frame(7).replace("log-1", "log-2"), client.session.core.export()), false);
  assert.equal(inside.isOlder(frame(7), undefined), false);
});

test("a page whose browser refuses channels has a stream of its own", async (t) => {
  const { server, open } = await origin(t);
  const channel = () => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  };
  const { client } = await open({}, { channel });
  assert.equal((await standing(client, "live")).revision, 7);
  assert.equal(server.asked("POST /v1/page").length, 1);
});

test("a new tab asks the server itself where the tab that leads has not heard it for a while", async (t) => {
  const storage = memory();
  const guarded = flag("checkout", { guarded: NEVER });
  const { server, open } = await origin(t, [guarded]);
  let passed = 0;
  const { client: leader } = await open({ storage }, { elapsed: () => performance.now() + passed });
  while (server.streams.size === 0) await new Promise(setImmediate);
  const heard = next(leader, "change");
  server.push(change(8, [{ put_flag: flag("other", { revision: 8 }) }]));
  await heard;
  passed = 21_000;
  server.snapshot = snapshot(9, [{ ...guarded, ...KILLED, revision: 9 }]);
  const { client } = await open({ storage });
  assert.equal(client.bool("checkout", undefined, true), false);
  assert.equal(server.asked("POST /v1/page").length, 2);
});

test("a tab that goes out of sight gives the lead away at once, and its stream later", async (t) => {
  const { server, shared, open } = await origin(t);
  const first = await open({ hiddenAfterMs: 60_000 });
  const second = await open();
  while (server.streams.size === 0) await new Promise(setImmediate);
  const heard = next(second.client, "change");
  server.snapshot = snapshot(8, [{ ...flag("checkout"), ...KILLED }]);
  first.sight.hide();
  await heard;
  assert.equal(shared.holders(), 1);
  assert.equal(streamed(server), 2);
  assert.equal(second.client.bool("checkout", {}, true), false);
  first.sight.show();
  assert.equal(first.client.status().state, "live");
});

test("what has to be confirmed is not served after a long rest until the server is heard again", async (t) => {
  let passed = 0;
  const { server, open } = await origin(t, [flag("checkout", { guarded: NEVER })]);
  const { client, sight } = await open({ hiddenAfterMs: 0 }, { elapsed: () => performance.now() + passed });
  while (server.streams.size === 0) await new Promise(setImmediate);
  assert.equal(client.bool("checkout", undefined, false), true);
  sight.hide();
  while (server.streams.size > 0) await new Promise(setImmediate);
  passed = 60_000;
  const held = next(client, "change");
  sight.show();
  assert.deepEqual((await held).flags, ["checkout"]);
  assert.equal(client.bool("checkout", undefined, true), false);
  if (client.bool("checkout", undefined, false) === false) await next(client, "change");
  assert.equal(client.bool("checkout", undefined, false), true);
});

test("a tab that waits for another one's way to the server learns that it was refused", async (t) => {
  const { server, open } = await origin(t);
  let refuse;
  const held = new Promise((resolve) => (refuse = resolve));
  server.script = async ({ path }) => {
    if (path === "/v1/page") await held;
    return { status: 401 };
  };
  const first = await open({ waitMs: 20 });
  const second = await open({ waitMs: 20 });
  await new Promise((resolve) => setTimeout(resolve, 250));
  refuse();
  for (const { client } of [first, second]) assert.equal((await standing(client, "offline")).unauthorized, true);
});
