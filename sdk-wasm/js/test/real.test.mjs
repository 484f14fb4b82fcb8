/** Pages and servers against a real server. Without a binary, which `TIDEGATE_BIN` names, they are skipped, and say so. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { binary, RealServer } from "../testing/real.mjs";
import { memory, next, node, page, standing } from "../testing/world.mjs";

const ORIGIN = "https://shop.example";
const options = binary === undefined ? { skip: "NOT TESTED: there is no binary; build the server, or set TIDEGATE_BIN" } : {};

/** As a browser does: each request names the site of the page. */
const from = (origin) => (url, request = {}) => fetch(url, { ...request, headers: { ...request.headers, origin } });

/** A shop with a flag that is on for all in the sandbox. */
async function shop(t, browser = "values") {
  const server = await RealServer.start();
  t.after(() => server.stop());
  await server.command("app", "create", "shop", "--owner", "ada@example.org");
  await server.command("flag", "create", "checkout", "--description", "the new one", "--browser", browser);
  await server.command("flag", "on", "checkout", "--env", "sandbox");
  const key = await server.token("sdk-browser", "--origin", ORIGIN, "--outcomes");
  const open = async (options = {}, around = {}) => {
    const client = await page(server, { key, fetch: from(ORIGIN), context: { targetingKey: "ann" }, ...options }, around);
    t.after(() => client.close());
    return client;
  };
  return { server, key, open };
}

const on = (client) => client.bool("checkout", undefined, false);
const becomes = (client, value) => (on(client) === value ? undefined : next(client, "change", () => on(client) === value));

test("an open page hears of a kill, of the flag's revival, and of its being on again", options, async (t) => {
  const { server, open } = await shop(t);
  const client = await open();
  assert.equal(on(client), true);
  const detail = client.boolDetail("checkout", undefined, false);
  assert.deepEqual([detail.variant, detail.reason, detail.split], ["on", "default", ".exposure"]);
  await server.command("flag", "kill", "checkout");
  await becomes(client, false);
  assert.equal(client.boolDetail("checkout", undefined, false).reason, "killed_flag");
  await server.command("flag", "revive", "checkout", "--reason", "fixed");
  assert.equal(on(client), false);
  await server.command("flag", "on", "checkout", "--env", "sandbox");
  await becomes(client, true);
});

test("a page that was closed when its flag was killed never shows it as on again", options, async (t) => {
  const { server, open } = await shop(t);
  const storage = memory();
  const before = await open({ storage });
  assert.equal(on(before), true);
  await before.close();
  await server.command("flag", "kill", "checkout");
  const answers = [];
  const client = await open({ storage });
  answers.push(on(client));
  await standing(client, "live");
  answers.push(on(client));
  assert.deepEqual(answers, [false, false]);
});

test("a page that is opened again while the server is away does not believe what was being rolled out", options, async (t) => {
  const { server, open } = await shop(t);
  const storage = memory();
  await (await open({ storage })).close();
  await server.end();
  const client = await open({ storage, waitMs: 50 });
  assert.equal(client.boolDetail("checkout", undefined, true).reason, "unconfirmed");
  assert.equal(on(client), false);
  assert.equal(client.status().state, "cached");
});

test("a server that starts anew takes its pages back, though it forgot them", options, async (t) => {
  const { server, open } = await shop(t);
  const client = await open({}, { random: () => 0.001 });
  await server.end();
  await standing(client, "stale");
  await server.serve(new URL(server.url).host);
  await standing(client, "live");
  await server.command("flag", "kill", "checkout");
  await becomes(client, false);
});

test("a page of another site, and a key that is none, are refused", options, async (t) => {
  const { server, key, open } = await shop(t);
  for (const refused of [{ fetch: from("https://elsewhere.example") }, { key: `${key}x` }]) {
    const client = await open({ waitMs: 50, ...refused });
    const status = await standing(client, "offline");
    assert.equal(status.unauthorized, true);
    assert.equal(on(client), false);
  }
  assert.equal(on(await open()), true, server.url);
});

test("a name that was cut in the middle of a letter opens a page as any other does", options, async (t) => {
  const { open } = await shop(t);
  const client = await open({ context: { targetingKey: "Ann 😀".slice(0, 5) } });
  assert.deepEqual([on(client), client.status().state], [true, "live"]);
});

test("a flag that travels as rules answers every context without the server", options, async (t) => {
  const { server, open } = await shop(t, "rules");
  await server.command("flag", "set", "checkout", "--env", "sandbox", "--serve", "off", "--rule", "gold: plan in gold -> on");
  const client = await open();
  await becomes(client, false);
  await server.end();
  assert.equal(client.bool("checkout", { targetingKey: "ben", plan: "gold" }, false), true);
  assert.equal(client.bool("checkout", { targetingKey: "ben", plan: "silver" }, true), false);
});

test("a page that asks for another context gets that one's values", options, async (t) => {
  const { server, open } = await shop(t);
  await server.command("flag", "set", "checkout", "--env", "sandbox", "--serve", "off", "--rule", "gold: plan in gold -> on");
  const client = await open();
  assert.equal(on(client), false);
  await client.setContext({ targetingKey: "ann", plan: "gold" });
  assert.equal(on(client), true);
});

test("what became of what a page was served is taken from it", options, async (t) => {
  const { open } = await shop(t);
  const answers = [];
  const client = await open({
    fetch: async (url, request) => {
      const answer = await from(ORIGIN)(url, request);
      if (String(url).includes("/outcomes")) answers.push([answer.status, await answer.clone().json()]);
      return answer;
    },
  });
  assert.equal(on(client), true);
  client.track("paid", { bad: true, latencyMs: 12 });
  await client.close();
  while (answers.length === 0) await new Promise(setImmediate);
  assert.equal(answers[0][0], 202);
  assert.deepEqual([answers[0][1].added, answers[0][1].refused], [1, []]);
});

test("a server gets the rules, and the operator sees that it has a kill", options, async (t) => {
  const { server } = await shop(t);
  const key = await server.token("sdk-server");
  const client = await node(server, { key, instance: "web-1" });
  t.after(() => client.close());
  assert.equal(on(client), true);
  const killed = await server.command("flag", "kill", "checkout");
  await becomes(client, false);
  assert.ok(killed !== undefined);
  const clients = JSON.stringify(await server.command("clients"));
  assert.ok(clients.includes("web-1"), clients);
});

test("what became of a server's requests is taken from it, without a word against any", options, async (t) => {
  const { server } = await shop(t);
  const answers = [];
  const watched = async (url, request) => {
    const answer = await fetch(url, request);
    if (String(url).endsWith("/v1/outcomes")) answers.push([answer.status, await answer.clone().json(), JSON.parse(request.body)]);
    return answer;
  };
  const client = await node(server, { key: await server.token("sdk-server"), fetch: watched });
  for (let n = 0; n < 600; n++) {
    const scope = client.scope({ targetingKey: `user-${n % 400}` });
    assert.equal(scope.bool("checkout", false), true);
    scope.finish({ bad: n % 7 === 0, latencyMs: n % 90, costMicros: n });
  }
  await client.close();
  const told = answers.filter(([, , { summaries }]) => summaries.length > 0);
  assert.ok(told.length > 0);
  for (const [status, { added, refused, all_refused }, { summaries }] of told) {
    assert.deepEqual([status, added, refused, all_refused], [202, summaries.length, [], undefined]);
  }
});
