/** The provider for pages, seen through OpenFeature's web SDK. Tests name the requirements of its specification that they show. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { change, flag, kill, snapshot, toldFlag } from "../testing/frames.mjs";
import { domain, Heard, openfeature, SILENT } from "../testing/openfeature.mjs";
import { Server } from "../testing/server.mjs";
import { memory, page } from "../testing/world.mjs";

const { core, web, TidegateWebProvider } = openfeature;
const { ErrorCode, OpenFeature, ProviderEvents, ProviderStatus, StandardResolutionReasons } = { ...core, ...web };
const { ConfigurationChanged, ContextChanged, Error: Failed, Ready, Reconciling, Stale } = ProviderEvents;
const ALL = [Ready, Failed, Stale, ConfigurationChanged, ContextChanged, Reconciling];
OpenFeature.setLogger(SILENT);

const FLAGS = [
  toldFlag("checkout"),
  flag("title", { value: "Hello", off: "" }),
  flag("limit", { value: 300, off: 3 }),
  flag("theme", { value: { dark: true }, off: {} }),
];

const served = { start: (server) => Server.start(server) };

/** A server, and a provider for its pages that is not set yet. */
async function made(t, { options = {}, around = {}, frame = snapshot(7, FLAGS), key } = {}) {
  const server = await served.start(frame);
  t.after(() => server.stop());
  const starter = { start: (all) => page(server, { ...all, ...(key === undefined ? {} : { key }) }, around) };
  const provider = new TidegateWebProvider(starter, { waitMs: 5_000, ...options });
  t.after(() => provider.onClose());
  const bound = domain();
  const client = OpenFeature.getClient(bound);
  const heard = new Heard(client, ALL);
  return { server, provider, client, heard, bound };
}

/** The same, set and ready. */
async function ready(t, given = {}) {
  const all = await made(t, given);
  await OpenFeature.setProviderAndWait(all.bound, all.provider, given.context ?? { targetingKey: "ann" });
  return all;
}

/** With a server that does not answer. */
async function unheard(t, { status, ...given } = {}) {
  const all = await made(t, { options: { waitMs: 20 }, around: { random: () => 0 }, ...given });
  all.server.script = () => (status === undefined ? { hang: true } : { status });
  return all;
}

/** All flags of the app are killed. */
const kills = (revision, id) => change(revision, [{ kills: { height: "app", kills: { killed: { id, at: "2026-01-01T00:00:00Z" }, revision } } }], { kill_id: id });

async function streaming(server) {
  while (server.streams.size === 0) await new Promise(setImmediate);
}

test("2.1.1: the provider has a name", async (t) => {
  const { client } = await ready(t);
  assert.equal(client.metadata.providerMetadata.name, "tidegate");
});

test("2.2.1, 2.2.2.1, 2.2.3, 2.2.4, 2.2.5: each type has its resolver, with value, variant and reason", async (t) => {
  const { client } = await ready(t);
  const checkout = client.getBooleanDetails("checkout", false);
  assert.deepEqual([checkout.value, checkout.variant, checkout.reason], [true, "on", StandardResolutionReasons.SPLIT]);
  for (const [details, value] of [
    [client.getStringDetails("title", "none"), "Hello"],
    [client.getNumberDetails("limit", 1), 300],
    [client.getObjectDetails("theme", {}), { dark: true }],
  ]) {
    assert.deepEqual([details.value, details.variant], [value, "on"]);
    assert.ok(Object.values(StandardResolutionReasons).includes(details.reason), details.reason);
  }
});

test("2.2.6, 2.3.2: an answer that is one says nothing of an error", async (t) => {
  const { provider } = await ready(t);
  const resolution = provider.resolveBooleanEvaluation("checkout", false);
  assert.equal("errorCode" in resolution || "errorMessage" in resolution, false);
});

test("2.2.7, 2.3.3: what goes wrong has a code, a message, and the value of the code", async (t) => {
  const { client } = await ready(t);
  for (const [details, code, value] of [
    [client.getBooleanDetails("nowhere", true), ErrorCode.FLAG_NOT_FOUND, true],
    [client.getStringDetails("checkout", "none"), ErrorCode.TYPE_MISMATCH, "none"],
    [client.getNumberDetails("title", 5), ErrorCode.TYPE_MISMATCH, 5],
    [client.getBooleanDetails("theme", true), ErrorCode.TYPE_MISMATCH, true],
    [client.getObjectDetails("checkout", { of: "code" }), ErrorCode.TYPE_MISMATCH, { of: "code" }],
  ]) {
    assert.deepEqual([details.errorCode, details.value, details.reason], [code, value, StandardResolutionReasons.ERROR]);
    assert.ok(details.errorMessage.length > 5);
  }
});

test("2.2.7: a flag for a part of all units is an error for who has no targeting key, and the value of the code", async (t) => {
  const half = { targeting: { on: true, exposure: 50, serve: { variant: "on" } } };
  const { client } = await ready(t, { frame: snapshot(7, [flag("half", half), flag("size", { ...half, value: { w: 1 }, off: { w: 0 } })]), context: {} });
  const details = [client.getBooleanDetails("half", true), client.getObjectDetails("size", { w: 9 })];
  assert.deepEqual(details.map(({ errorCode, value }) => [errorCode, value]), [[ErrorCode.TARGETING_KEY_MISSING, true], [ErrorCode.TARGETING_KEY_MISSING, { w: 9 }]]);
});

test("2.2.9, 2.2.10: what else is known is flat metadata", async (t) => {
  const { client } = await ready(t);
  const { flagMetadata } = client.getBooleanDetails("checkout", false);
  assert.deepEqual({ ...flagMetadata }, { "tidegate.reason": "exposed", "tidegate.revision": 3, "tidegate.split": ".exposure" });
});

test("2.3.1: the provider brings no hooks, and those of the app see its answers", async (t) => {
  const { client, provider } = await ready(t);
  assert.deepEqual(provider.hooks, []);
  const seen = [];
  client.addHooks({ after: (_, { value }) => void seen.push(value), error: (_, error) => void seen.push(error.code) });
  client.getBooleanValue("checkout", false);
  client.getBooleanValue("nowhere", false);
  assert.deepEqual(seen, [true, ErrorCode.FLAG_NOT_FOUND]);
});

test("2.4.1: the page is opened for the context that the SDK has", async (t) => {
  const { server } = await ready(t, { context: { targetingKey: "ann", plan: "gold" } });
  assert.deepEqual(JSON.parse(server.asked("POST /v1/page")[0].body).context, { plan: "gold", targetingKey: "ann" });
});

test("2.4.2.1: a provider that has no flags in time rejects, and is ready when they come", async (t) => {
  const { server, client, provider, heard, bound } = await unheard(t, { status: 503 });
  await assert.rejects(OpenFeature.setProviderAndWait(bound, provider, {}), { code: ErrorCode.PROVIDER_NOT_READY });
  assert.equal(client.providerStatus, ProviderStatus.ERROR);
  assert.equal(client.getBooleanDetails("checkout", false).errorCode, ErrorCode.PROVIDER_NOT_READY);
  server.script = () => undefined;
  await heard.of(Ready);
  assert.equal(client.providerStatus, ProviderStatus.READY);
  assert.equal(client.getBooleanValue("checkout", false), true);
});

for (const status of [401, 403]) {
  test(`2.4.2.1: a key that is answered ${status} is fatal, until it is taken`, async (t) => {
    const { server, client, provider, heard, bound } = await unheard(t, { status, options: { waitMs: 1_500 } });
    await assert.rejects(OpenFeature.setProviderAndWait(bound, provider, {}), { code: ErrorCode.PROVIDER_FATAL });
    assert.equal(client.providerStatus, ProviderStatus.FATAL);
    assert.equal(client.getBooleanDetails("checkout", false).errorCode, ErrorCode.PROVIDER_FATAL);
    server.script = () => undefined;
    await provider.client.refresh();
    await heard.of(Ready);
    assert.equal(client.getBooleanValue("checkout", false), true);
  });
}

test("2.4.2.1: options that can never work are fatal, and a context that is none is said to be", async (t) => {
  const { provider, bound } = await made(t, { key: "no key" });
  await assert.rejects(OpenFeature.setProviderAndWait(bound, provider, {}), { code: ErrorCode.PROVIDER_FATAL });
  const other = await made(t);
  const context = { targetingKey: 7 };
  await assert.rejects(OpenFeature.setProviderAndWait(other.bound, other.provider, context), { code: ErrorCode.INVALID_CONTEXT });
  await OpenFeature.setContext(other.bound, { targetingKey: "seven" });
  assert.equal(other.client.getBooleanValue("checkout", false), true);
});

test("2.5.1, 2.5.2, 2.5.3: a provider that is closed lets its stream go, is as before, and can be closed again and begin anew", async (t) => {
  const { server, provider } = await ready(t);
  await streaming(server);
  await provider.onClose();
  await provider.onClose();
  while (server.streams.size > 0) await new Promise(setImmediate);
  assert.equal(provider.client, undefined);
  assert.equal(provider.resolveBooleanEvaluation("checkout", false).errorCode, ErrorCode.PROVIDER_NOT_READY);
  await provider.initialize({ targetingKey: "ben" });
  assert.equal(provider.resolveBooleanEvaluation("checkout", false).value, true);
});

test("2.5.1: one that is closed before it is ready leaves nothing open", async (t) => {
  const { server, provider } = await made(t);
  const begun = provider.initialize({});
  await provider.onClose();
  await assert.rejects(begun, { code: ErrorCode.PROVIDER_NOT_READY });
  while (server.streams.size > 0) await new Promise(setImmediate);
  assert.equal(provider.client, undefined);
});

test("2.6.1, 3.2.4.1: another context opens the page for it, and flags answer for it when that is done", async (t) => {
  const frame = ({ plan }) => snapshot(7, [toldFlag("checkout", { value: plan === "gold" })]);
  const { client, provider, bound } = await ready(t, { frame });
  assert.equal(client.getBooleanValue("checkout", true), false);
  const change = provider.onContextChange({}, { targetingKey: "ann" });
  assert.equal(typeof change.then, "function");
  await change;
  await OpenFeature.setContext(bound, { targetingKey: "ann", plan: "gold" });
  assert.equal(client.getBooleanValue("checkout", false), true);
});

test("3.2.2.2: the SDK's context is the one that counts, whatever the page said before", async (t) => {
  const { client, bound } = await ready(t, { frame: ({ plan }) => snapshot(7, [toldFlag("checkout", { value: plan === "gold" })]) });
  const first = OpenFeature.setContext(bound, { targetingKey: "ann", plan: "gold" });
  const second = OpenFeature.setContext(bound, { targetingKey: "ann", plan: "none" });
  await Promise.all([first, second]);
  assert.equal(client.getBooleanValue("checkout", true), false);
});

test("5.3.4.1, 5.3.4.2, 2.8.4: a change of context is RECONCILING, then CONTEXT_CHANGED, each once, and the provider is READY", async (t) => {
  const { server, client, heard, bound } = await ready(t);
  const before = heard.events.length;
  const change = OpenFeature.setContext(bound, { targetingKey: "ben" });
  assert.equal(client.providerStatus, ProviderStatus.RECONCILING);
  assert.equal(client.getBooleanValue("checkout", false), true);
  await change;
  assert.equal(client.providerStatus, ProviderStatus.READY);
  await streaming(server);
  assert.deepEqual(heard.kinds.slice(before), [Reconciling, ContextChanged]);
});

test("5.3.4.3, 3.2.4.2, 2.8.3: a change of context that leaves the page without flags is an ERROR, and READY when they come", async (t) => {
  const frame = snapshot(7, [toldFlag("checkout")]);
  const { server, client, heard, bound } = await ready(t, { frame, options: { waitMs: 1_000 }, around: { random: () => 0 } });
  server.script = ({ path }) => (path === "/v1/page" ? { status: 503 } : undefined);
  await OpenFeature.setContext(bound, { targetingKey: "ben" });
  assert.equal(client.providerStatus, ProviderStatus.ERROR);
  assert.equal(heard.count(ContextChanged), 0);
  server.script = () => undefined;
  await heard.of(Ready, 2);
  assert.equal(client.providerStatus, ProviderStatus.READY);
});

test("5.3.4.2, 5.3.5: flags that came as rules answer for another context at once, and are STALE until the server is heard", async (t) => {
  const { server, client, heard, bound } = await ready(t, { options: { waitMs: 1_000 }, around: { random: () => 0 } });
  server.script = ({ path }) => (path === "/v1/page" ? { status: 503 } : undefined);
  await OpenFeature.setContext(bound, { targetingKey: "ben" });
  assert.equal(client.getStringValue("title", "none"), "Hello");
  assert.equal(client.getBooleanDetails("checkout", false).errorCode, ErrorCode.FLAG_NOT_FOUND);
  await heard.of(Stale);
  assert.deepEqual(heard.kinds.slice(1), [Reconciling, ContextChanged, Stale]);
  server.script = () => undefined;
  await heard.of(Ready, 2);
  assert.equal(client.getBooleanValue("checkout", false), true);
});

test("2.7.1: what is tracked reaches the server with the flags that were checked", async (t) => {
  const { server, client, provider } = await ready(t);
  client.getBooleanValue("checkout", false);
  client.track("paid", { value: 12, bad: true, latencyMs: 5, note: "not for the server" });
  await provider.onClose();
  const { body } = await server.until(({ path }) => path === "/v1/page/outcomes");
  const [ended] = JSON.parse(body).ended;
  assert.deepEqual([ended.name, ended.bad, ended.latency_us], ["paid", true, 5_000]);
  assert.deepEqual(ended.flags, [{ key: "checkout", revision: 3, variant: "on", split: ".exposure" }]);
  assert.equal(body.includes("note"), false);
});

test("2.8.1, 2.8.2, 5.3.1: a provider that began is READY, which each handler hears once", async (t) => {
  const { client, heard } = await ready(t);
  await new Promise(setImmediate);
  assert.deepEqual(heard.kinds, [Ready]);
  assert.equal(client.providerStatus, ProviderStatus.READY);
  assert.equal(heard.events[0].providerName, "tidegate");
});

test("5.3.3: one who listens when it is READY already hears that at once", async (t) => {
  const { client } = await ready(t);
  let heard = 0;
  client.addHandler(Ready, () => heard++);
  assert.equal(heard, 1);
});

test("5.3.2, 5.1.3: a provider that cannot begin says ERROR once, with a message", async (t) => {
  const { heard, provider, bound } = await unheard(t, { status: 401, options: { waitMs: 1_500 } });
  await OpenFeature.setProviderAndWait(bound, provider, {}).catch(() => {});
  await new Promise(setImmediate);
  assert.deepEqual(heard.kinds, [Failed]);
  assert.match(heard.events[0].message, /\w/);
});

test("2.8.1, 5.1.1, 5.3.5: a stream that is lost is STALE with a reason, and READY when it is back", async (t) => {
  const { server, client, heard } = await ready(t, { around: { random: () => 0 } });
  await streaming(server);
  server.script = () => ({ status: 503 });
  server.cut();
  const { message } = await heard.of(Stale);
  assert.match(message, /\w/);
  assert.equal(client.providerStatus, ProviderStatus.STALE);
  assert.equal(client.getBooleanDetails("checkout", false).reason, StandardResolutionReasons.STALE);
  server.script = () => undefined;
  await heard.of(Ready, 2);
  assert.equal(client.providerStatus, ProviderStatus.READY);
});

test("5.1.1, 5.3.5: a page that has only what was kept is READY, then STALE, then READY when the server is heard", async (t) => {
  const storage = memory();
  const before = await ready(t, { options: { storage } });
  await before.provider.onClose();
  const around = { random: () => 0 };
  const later = await made(t, { options: { storage, waitMs: 30 }, around });
  // The same server, as storage sees it.
  later.server.script = () => ({ status: 503 });
  const starter = { start: (all) => page({ url: before.server.url }, all, around) };
  before.server.script = () => ({ status: 503 });
  const provider = new TidegateWebProvider(starter, { storage, waitMs: 30 });
  t.after(() => provider.onClose());
  await OpenFeature.setProviderAndWait(later.bound, provider, { targetingKey: "ann" });
  await later.heard.of(Stale);
  assert.deepEqual(later.heard.kinds, [Ready, Stale]);
  const details = later.client.getBooleanDetails("checkout", false);
  assert.deepEqual([details.value, details.reason], [true, StandardResolutionReasons.CACHED]);
  before.server.script = () => undefined;
  await later.heard.of(Ready, 2);
  assert.equal(later.client.providerStatus, ProviderStatus.READY);
});

test("5.1.2, 5.1.4, 5.1.5: a kill is CONFIGURATION_CHANGED with its flag, in the task in which it takes effect", async (t) => {
  const { server, client, heard, provider } = await ready(t);
  await streaming(server);
  const values = [];
  client.addHandler(ConfigurationChanged, () => values.push(client.getBooleanValue("checkout", true)));
  const ours = [];
  provider.client.on("change", () => ours.push(heard.count(ConfigurationChanged)));
  server.push(kill(8, "checkout", "kill-9"));
  const event = await heard.of(ConfigurationChanged);
  assert.deepEqual(event.flagsChanged, ["checkout"]);
  assert.deepEqual(event.metadata, { "tidegate.revision": 8, "tidegate.kill_ids": "kill-9" });
  assert.deepEqual(values, [false]);
  assert.deepEqual(ours, [1]);
});

test("5.1.2: a kill while the context is being changed is CONFIGURATION_CHANGED with its id, though all flags are new", async (t) => {
  const { server, heard, bound } = await ready(t);
  await streaming(server);
  let go;
  server.script = ({ path }) => (path === "/v1/page" ? new Promise((resolve) => (go = resolve)) : undefined);
  const change = OpenFeature.setContext(bound, { targetingKey: "ben" });
  while (go === undefined) await new Promise(setImmediate);
  server.push(kills(8, "kill-9"));
  const { metadata } = await heard.of(ConfigurationChanged);
  assert.equal(metadata["tidegate.kill_ids"], "kill-9");
  server.script = () => undefined;
  go(undefined);
  await change;
});

test("5.1.2: a flag that changes, and one that is new, are named", async (t) => {
  const { server, client, heard } = await ready(t);
  await streaming(server);
  server.push(change(8, [{ put_flag: flag("title", { value: "Bye", off: "", revision: 8 }) }, { put_flag: flag("new", { revision: 8 }) }]));
  const { flagsChanged } = await heard.of(ConfigurationChanged);
  assert.deepEqual(flagsChanged.toSorted(), ["new", "title"]);
  assert.equal(client.getStringValue("title", ""), "Bye");
});

test("5.1.1: after it was closed a provider says nothing", async (t) => {
  const { server, provider, heard } = await ready(t);
  await streaming(server);
  const before = heard.events.length;
  await provider.onClose();
  server.push(kill(8, "checkout"));
  server.cut();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(heard.events.length, before);
});

test("1.7.1, 1.7.2.1, 1.7.3, 1.7.6: before it is set the status is NOT_READY, and so is the code of answers", async (t) => {
  const { server, provider, client, bound } = await made(t);
  let go;
  server.script = () => new Promise((resolve) => (go = resolve));
  const set = OpenFeature.setProviderAndWait(bound, provider, {});
  assert.equal(client.providerStatus, ProviderStatus.NOT_READY);
  const details = client.getBooleanDetails("checkout", true);
  assert.deepEqual([details.value, details.errorCode], [true, ErrorCode.PROVIDER_NOT_READY]);
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
    const { client, provider, bound } = await unheard(t, { status, options: { waitMs: 1_500 } });
    await OpenFeature.setProviderAndWait(bound, provider, {}).catch(() => {});
    assert.equal(client.providerStatus, state);
  }
});

test("1.4.10: no call of the client throws, whatever it is asked", async (t) => {
  const { client } = await ready(t);
  for (const key of [undefined, null, 7, {}, "", "__proto__", "constructor"]) {
    assert.equal(client.getBooleanValue(key, true), true);
    assert.deepEqual(client.getObjectValue(key, { of: "code" }), { of: "code" });
    client.track(key, null);
  }
});

test("6.1.2.1, 6.2.1, 6.2.2: what is tracked needs a name and takes a number", async (t) => {
  const { client, provider, server } = await ready(t);
  client.getBooleanValue("checkout", false);
  client.track("seen");
  client.getBooleanValue("checkout", false);
  client.track("paid", { value: 99.5 });
  await provider.onClose();
  const { body } = await server.until(({ path }) => path === "/v1/page/outcomes");
  assert.deepEqual(JSON.parse(body).ended.map(({ name }) => name), ["seen", "paid"]);
});

test("a page's provider is for one domain, as its context is", async (t) => {
  const { provider } = await ready(t);
  await assert.rejects(async () => OpenFeature.setProviderAndWait(domain(), provider), /more than one domain/);
});
