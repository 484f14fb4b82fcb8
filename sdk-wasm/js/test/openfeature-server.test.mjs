/** The provider for servers, seen through OpenFeature's server SDK. Tests name the requirements of its specification that they show. */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { test } from "node:test";

import { flag, kill, snapshot } from "../testing/frames.mjs";
import { domain, Heard, openfeature, SILENT } from "../testing/openfeature.mjs";
import { Server } from "../testing/server.mjs";
import { node } from "../testing/world.mjs";

const { core, server: sdk, TidegateServerProvider } = openfeature;
const { ErrorCode, StandardResolutionReasons } = core;
const { OpenFeature, ProviderEvents, ProviderStatus } = sdk;
const { ConfigurationChanged, Error: Failed, Ready, Stale } = ProviderEvents;
OpenFeature.setLogger(SILENT);

const GOLD = { id: "gold", when: { attribute: "plan", op: "in", values: ["gold"] }, serve: { variant: "on" } };
const RULED = { targeting: { on: true, exposure: 100, serve: { variant: "off" }, rules: [GOLD] } };
const SPLIT = { on: true, exposure: 100, serve: { split: { id: "halves", control: "off", weights: [{ variant: "on", weight: 1 }] } } };
const FLAGS = [
  flag("checkout", RULED),
  flag("halves", { targeting: SPLIT }),
  flag("title", { value: "Hello", off: "" }),
  flag("limit", { value: 300, off: 3 }),
  flag("theme", { value: { dark: true }, off: {} }),
];

async function made(t, { options = {}, around = {}, starter } = {}) {
  const server = await Server.start(snapshot(7, FLAGS));
  t.after(() => server.stop());
  const own = starter ?? { start: (all) => node(server, all, around) };
  const provider = new TidegateServerProvider(own, { waitMs: 5_000, ...options });
  t.after(() => provider.onClose());
  const bound = domain();
  const client = OpenFeature.getClient(bound);
  const heard = new Heard(client, [Ready, Failed, Stale, ConfigurationChanged]);
  return { server, provider, client, heard, bound };
}

async function ready(t, given) {
  const all = await made(t, given);
  await OpenFeature.setProviderAndWait(all.bound, all.provider);
  return all;
}

async function streaming(server) {
  while (server.streams.size === 0) await new Promise(setImmediate);
}

test("2.1.1: the provider has a name, and is for servers", async (t) => {
  const { client, provider } = await ready(t);
  assert.equal(client.metadata.providerMetadata.name, "tidegate");
  assert.equal(provider.runsOn, "server");
});

test("2.2.1, 2.2.2.1, 2.2.3, 2.2.4, 2.2.5: each type has its resolver, with value, variant and reason", async (t) => {
  const { client } = await ready(t);
  const gold = { targetingKey: "ann", plan: "gold" };
  for (const [details, value, reason] of [
    [await client.getBooleanDetails("checkout", false, gold), true, StandardResolutionReasons.TARGETING_MATCH],
    [await client.getBooleanDetails("halves", false, gold), true, StandardResolutionReasons.SPLIT],
    [await client.getStringDetails("title", "none"), "Hello", undefined],
    [await client.getNumberDetails("limit", 1), 300, undefined],
    [await client.getObjectDetails("theme", {}), { dark: true }, undefined],
  ]) {
    assert.deepEqual([details.value, details.variant], [value, "on"]);
    assert.equal(details.reason, reason ?? details.reason);
    assert.ok(Object.values(StandardResolutionReasons).includes(details.reason), details.reason);
  }
});

test("2.2.6, 2.3.2: an answer that is one says nothing of an error", async (t) => {
  const { provider } = await ready(t);
  const resolution = await provider.resolveBooleanEvaluation("checkout", false, {});
  assert.equal("errorCode" in resolution || "errorMessage" in resolution, false);
});

test("2.2.7, 2.3.3: what goes wrong has a code, a message, and the value of the code", async (t) => {
  const { client } = await ready(t);
  const round = { targetingKey: "ann" };
  round.plan = [round];
  for (const [details, code, value] of [
    [await client.getBooleanDetails("nowhere", true), ErrorCode.FLAG_NOT_FOUND, true],
    [await client.getStringDetails("checkout", "none"), ErrorCode.TYPE_MISMATCH, "none"],
    [await client.getObjectDetails("limit", { of: "code" }), ErrorCode.TYPE_MISMATCH, { of: "code" }],
    [await client.getBooleanDetails("checkout", true, round), ErrorCode.INVALID_CONTEXT, true],
  ]) {
    assert.deepEqual([details.errorCode, details.value, details.reason], [code, value, StandardResolutionReasons.ERROR]);
    assert.ok(details.errorMessage.length > 5);
  }
});

test("2.2.9, 2.2.10: what else is known is flat metadata", async (t) => {
  const { client } = await ready(t);
  const { flagMetadata } = await client.getBooleanDetails("halves", false, { targetingKey: "ann" });
  assert.deepEqual(Object.keys(flagMetadata).sort(), ["tidegate.reason", "tidegate.revision", "tidegate.split"]);
  assert.ok(Object.values(flagMetadata).every((value) => typeof value === "string" || typeof value === "number"));
});

test("2.3.1: the provider brings no hooks, and those of the app see its answers", async (t) => {
  const { client, provider } = await ready(t);
  assert.deepEqual(provider.hooks, []);
  const seen = [];
  client.addHooks({ after: (_, { value }) => void seen.push(value) });
  await client.getStringValue("title", "none");
  assert.deepEqual(seen, ["Hello"]);
});

test("2.4.1: a provider that is set follows the server before it is ready", async (t) => {
  const { server } = await ready(t);
  assert.equal(server.asked("GET /v1/feed").length, 1);
});

test("2.4.2.1: a provider that has no flags in time rejects, and is ready when they come", async (t) => {
  const { server, client, provider, heard, bound } = await made(t, { options: { waitMs: 20 }, around: { random: () => 0 } });
  server.script = () => ({ status: 503 });
  await assert.rejects(OpenFeature.setProviderAndWait(bound, provider), { code: ErrorCode.PROVIDER_NOT_READY });
  assert.equal(client.providerStatus, ProviderStatus.ERROR);
  server.script = () => undefined;
  await heard.of(Ready);
  assert.equal(await client.getStringValue("title", "none"), "Hello");
});

test("2.4.2.1: a key that is refused, and options that can never work, are fatal", async (t) => {
  const { server, provider, client, bound } = await made(t, { options: { waitMs: 1_500 } });
  server.script = () => ({ status: 401 });
  await assert.rejects(OpenFeature.setProviderAndWait(bound, provider), { code: ErrorCode.PROVIDER_FATAL });
  assert.equal((await client.getStringDetails("title", "none")).errorCode, ErrorCode.PROVIDER_FATAL);
  const starter = { start: () => Promise.reject(new Error("`url` has to be a text")) };
  const other = await made(t, { starter });
  await assert.rejects(OpenFeature.setProviderAndWait(other.bound, other.provider), /`url` has to be a text/);
  assert.equal(other.client.providerStatus, ProviderStatus.FATAL);
});

test("2.5.1, 2.5.2, 2.5.3: a provider that is closed lets its stream go, is as before, and can be closed again and begin anew", async (t) => {
  const { server, provider } = await ready(t);
  await streaming(server);
  await provider.onClose();
  await provider.onClose();
  while (server.streams.size > 0) await new Promise(setImmediate);
  assert.equal((await provider.resolveStringEvaluation("title", "none", {})).errorCode, ErrorCode.PROVIDER_NOT_READY);
  await provider.initialize();
  assert.equal((await provider.resolveStringEvaluation("title", "none", {})).value, "Hello");
});

test("2.7.1: what is tracked is taken, and never throws", async (t) => {
  const { client } = await ready(t);
  client.track("paid", { targetingKey: "ann" }, { value: 12, bad: true });
  client.track("paid");
  client.track(undefined, null, null);
});

test("2.8.1, 2.8.2, 5.3.1: a provider that began is READY, which each handler hears once", async (t) => {
  const { heard, client } = await ready(t);
  await new Promise(setImmediate);
  assert.deepEqual(heard.kinds, [Ready]);
  assert.equal(client.providerStatus, ProviderStatus.READY);
});

test("5.3.2, 5.1.3: a provider that cannot begin says ERROR once, with a message", async (t) => {
  const { server, heard, provider, bound } = await made(t, { options: { waitMs: 1_500 } });
  server.script = () => ({ status: 403 });
  await OpenFeature.setProviderAndWait(bound, provider).catch(() => {});
  await new Promise(setImmediate);
  assert.deepEqual(heard.kinds, [Failed]);
  assert.match(heard.events[0].message, /\w/);
});

test("5.3.3: one who listens when it is READY already hears that at once", async (t) => {
  const { client } = await ready(t);
  let heard = 0;
  client.addHandler(Ready, () => heard++);
  assert.equal(heard, 1);
});

test("2.8.1, 5.1.1, 5.3.5: a feed that is lost is STALE with a reason, answers go on, and it is READY when it is back", async (t) => {
  const { server, client, heard } = await ready(t, { around: { random: () => 0 } });
  await streaming(server);
  server.script = ({ path }) => (path === "/v1/feed" ? { status: 503 } : undefined);
  server.cut();
  const { message } = await heard.of(Stale);
  assert.match(message, /\w/);
  assert.equal(client.providerStatus, ProviderStatus.STALE);
  assert.equal((await client.getStringDetails("title", "none")).reason, StandardResolutionReasons.STALE);
  server.script = () => undefined;
  await heard.of(Ready, 2);
  assert.equal(client.providerStatus, ProviderStatus.READY);
});

test("5.1.2, 5.1.4, 5.1.5: a kill is CONFIGURATION_CHANGED with its flag", async (t) => {
  const { server, client, heard } = await ready(t);
  await streaming(server);
  server.push(kill(8, "title", "kill-9"));
  const event = await heard.of(ConfigurationChanged);
  assert.deepEqual(event.flagsChanged, ["title"]);
  assert.deepEqual(event.metadata, { "tidegate.revision": 8, "tidegate.kill_ids": "kill-9" });
  assert.equal(await client.getStringValue("title", "none"), "");
});

test("1.7.1, 1.7.3, 1.7.6: before it is set the status is NOT_READY, and so is the code of answers", async (t) => {
  const { server, provider, client, bound } = await made(t);
  let go;
  server.script = ({ path }) => (path === "/v1/feed" ? new Promise((resolve) => (go = resolve)) : undefined);
  const set = OpenFeature.setProviderAndWait(bound, provider);
  assert.equal(client.providerStatus, ProviderStatus.NOT_READY);
  assert.equal((await client.getBooleanDetails("checkout", true)).errorCode, ErrorCode.PROVIDER_NOT_READY);
  while (go === undefined) await new Promise(setImmediate);
  server.script = () => undefined;
  go(undefined);
  await set;
  assert.equal(client.providerStatus, ProviderStatus.READY);
});

test("1.7.4, 1.7.5: a provider that failed is in ERROR, and in FATAL if its key is refused", async (t) => {
  for (const [status, state] of [
    [503, ProviderStatus.ERROR],
    [401, ProviderStatus.FATAL],
  ]) {
    const { server, client, provider, bound } = await made(t, { options: { waitMs: 1_500 } });
    server.script = () => ({ status });
    await OpenFeature.setProviderAndWait(bound, provider).catch(() => {});
    assert.equal(client.providerStatus, state);
  }
});

test("1.4.10: no call of the client throws, whatever it is asked", async (t) => {
  const { client } = await ready(t);
  const hostile = new Proxy({}, { get: () => { throw new Error("no"); } });
  for (const key of [undefined, null, 7, {}, "", "__proto__", "constructor"]) {
    assert.equal(await client.getBooleanValue(key, true), true);
  }
  // What cannot be read is not there.
  assert.equal(await client.getBooleanValue("checkout", true, { plan: hostile }), false);
  assert.equal(await client.getBooleanValue("checkout", true, null), false);
});

test("3.2.1.1, 3.2.3: the API's context, the client's and the evaluation's reach the check, the last above the first", async (t) => {
  const { client } = await ready(t);
  t.after(() => OpenFeature.setContext({}));
  const asked = () => client.getBooleanValue("checkout", false);
  assert.equal(await asked(), false);
  OpenFeature.setContext({ plan: "gold" });
  assert.equal(await asked(), true);
  client.setContext({ plan: "silver" });
  assert.equal(await asked(), false);
  assert.equal(await client.getBooleanValue("checkout", false, { plan: "gold" }), true);
  client.addHooks({ before: () => ({ plan: "gold" }) });
  assert.equal(await asked(), true);
});

test("3.3.1.2.1, 3.3.1.2.2, 3.3.1.2.3: the context of a transaction reaches the checks in it, and no other", async (t) => {
  const { client } = await ready(t);
  const storage = new AsyncLocalStorage();
  OpenFeature.setTransactionContextPropagator({
    getTransactionContext: () => storage.getStore() ?? {},
    setTransactionContext: (context, run) => storage.run(context, run),
  });
  const asked = () => client.getBooleanValue("checkout", false);
  const inside = (plan) => new Promise((resolve) => OpenFeature.setTransactionContext({ plan }, () => resolve(asked())));
  assert.deepEqual(await Promise.all([inside("gold"), inside("silver"), asked()]), [true, false, false]);
});

test("6.1.1.1, 6.1.3, 6.1.4: tracking takes a context and a number, and without a provider for it nothing happens", async (t) => {
  const { client, provider } = await ready(t);
  client.track("paid", { targetingKey: "ann" }, { value: 99.5 });
  await provider.onClose();
  client.track("paid", { targetingKey: "ann" }, { value: 99.5 });
});
