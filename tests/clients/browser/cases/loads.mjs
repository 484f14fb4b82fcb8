/** How pages come up: with and without a build step, on whose site, with which key, under which policy. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { seen, shown, SHORT_MS, stands } from '../world.mjs';

const FLAGS = [{ key: 'checkout' }, { key: 'title', fallback: 'none' }, { key: 'limit', fallback: 1 }, { key: 'hidden' }];

async function flags(server) {
  await server.flag('checkout');
  const text = [{ key: 'on', value: 'Hello' }, { key: 'off', value: '' }];
  await server.flag('title', { type: 'string', variants: text, off_variant: 'off' });
  const numbers = [{ key: 'on', value: 300 }, { key: 'off', value: 3 }];
  await server.flag('limit', { browser: 'rules', type: 'number', variants: numbers, off_variant: 'off' });
  await server.flag('hidden', { browser: 'none' });
}

async function expectFlags(page) {
  assert.deepEqual(
    [await shown(page, 'checkout'), await shown(page, 'title'), await shown(page, 'limit'), await shown(page, 'hidden')],
    ['true', 'Hello', '300', 'false'],
  );
}

export async function a_page_without_a_build_step_loads_the_sdk_from_the_server_and_shows_its_flags(world) {
  await flags(world.server);
  const { said: files } = await world.server.send('GET', '/sdk', undefined, { accept: 'application/json' });
  const entry = files.files.find(({ name }) => name === 'tidegate.js');
  const requests = [];
  world.browser.on('request', (request) => requests.push({ url: request.url(), method: request.method(), body: request.postData() ?? '', headers: request.headers() }));
  const answers = new Map();
  world.browser.on('response', (response) => answers.set(new URL(response.url()).pathname, response));
  const options = await world.options();
  const address = new URL(entry.immutable_path, world.server.url).href;
  const page = await world.show(world.site.page({ options, flags: FLAGS, sdk: address, integrity: entry.integrity }));
  await stands(page, 'live');
  await expectFlags(page);
  await world.picture(page, 'first-load');
  assert.deepEqual((await seen(page)).problems, []);
  const sdk = answers.get(new URL(address).pathname);
  assert.match(sdk.headers()['content-type'], /^text\/javascript/);
  assert.match(sdk.headers()['cache-control'], /immutable/);
  const [wasm] = [...answers.values()].filter((answer) => answer.url().endsWith('.wasm'));
  assert.equal(wasm.headers()['content-type'], 'application/wasm');
  assert.match(wasm.headers()['cache-control'], /immutable/);
  for (const { url } of requests) {
    assert.ok(!url.includes(options.key) && !url.includes('ann'), `${url} shows the key or the context`);
  }
  assert.equal(requests.filter(({ headers }) => headers.authorization !== undefined).length, 1, 'only the page is opened with the key');
}

export async function another_site_is_refused_and_the_named_one_is_not(world) {
  await flags(world.server);
  const options = await world.options();
  const elsewhere = await world.newSite();
  const refused = await world.show(elsewhere.page({ options: { ...options, waitMs: SHORT_MS }, flags: FLAGS }));
  await stands(refused, 'offline');
  const status = await refused.evaluate(() => window.client.status());
  assert.equal(status.unauthorized, true);
  assert.ok(status.why.includes(`this token is for pages of ${world.site.origin}, not of \`${elsewhere.origin}\``), status.why);
  const warnings = refused.said.filter((line) => line.startsWith('warning: tidegate'));
  assert.deepEqual(warnings, [`warning: tidegate: ${world.relay.url}: ${status.why}`]);
  assert.deepEqual(await Promise.all(FLAGS.map(({ key }) => shown(refused, key))), ['false', 'none', '1', 'false']);
  await world.picture(refused, 'refused');
  const taken = await world.show(world.site.page({ options, flags: FLAGS }));
  await stands(taken, 'live');
  await expectFlags(taken);
  await world.picture(taken, 'taken');
}

export async function a_wrong_key_answers_fallbacks_and_breaks_nothing(world) {
  await flags(world.server);
  const options = { ...(await world.options()), key: 'tg_sdk-browser_000000000000_wrong', waitMs: SHORT_MS };
  const page = await world.show(world.site.page({ options, flags: FLAGS }));
  await stands(page, 'offline');
  assert.deepEqual(await Promise.all(FLAGS.map(({ key }) => shown(page, key))), ['false', 'none', '1', 'false']);
  assert.equal(await page.evaluate(() => window.client.status().unauthorized), true);
  assert.deepEqual((await seen(page)).problems, []);
  await world.picture(page, 'wrong-key');
}

export async function a_key_for_servers_is_refused_in_a_page(world) {
  const key = (await world.server.send('POST', '/v1/tokens', { scope: 'sdk-server', app: 'shop', environment: 'trial' })).said.secret;
  world.site.page({ options: { ...(await world.options()), key }, flags: FLAGS });
  const page = await world.tab();
  const failed = page.waitForEvent('pageerror');
  await page.goto(world.site.origin);
  assert.match((await failed).message, /sdk-browser/);
}

export async function the_strict_policies_of_the_readme_are_enough_for_each_way_of_loading(world) {
  await flags(world.server);
  const readme = await readFile(new URL('../../../../README.md', import.meta.url), 'utf8');
  const policy = (way) => {
    const [, found] = new RegExp(`^\\| a strict policy, SDK ${way} \\| \`([^\`]+)\``, 'm').exec(readme) ?? [];
    assert.ok(found?.includes('https://flags.example.org'), `the README has a policy for an SDK ${way}`);
    return found.replaceAll('https://flags.example.org', world.server.url);
  };
  for (const [way, sdk] of [['bundled', '/sdk/tidegate.js'], ['from `/sdk`', `${world.server.url}/sdk/tidegate.js`]]) {
    world.site.headers = { 'content-security-policy': `default-src 'none'; style-src 'self'; img-src data:; ${policy(way)}` };
    const page = await world.show(world.site.page({ options: await world.options({ url: world.server.url }), flags: FLAGS, sdk }));
    await stands(page, 'live');
    await expectFlags(page);
    assert.deepEqual((await seen(page)).problems, []);
    // The policy is in force.
    await page.evaluate(() => window.tryEval());
    assert.deepEqual((await seen(page)).problems.toSorted(), ['eval is refused', 'script-src eval']);
    await world.picture(page, 'strict');
    await page.close();
  }
}

export async function a_policy_without_webassembly_leaves_the_page_with_its_fallbacks(world) {
  await flags(world.server);
  world.site.headers = { 'content-security-policy': `script-src 'self'` };
  const options = await world.options({ waitMs: SHORT_MS });
  const page = await world.show(world.site.page({ options, flags: FLAGS }));
  await stands(page, 'offline');
  assert.deepEqual(await Promise.all(FLAGS.map(({ key }) => shown(page, key))), ['false', 'none', '1', 'false']);
  assert.match(await page.evaluate(() => window.client.status().why), /module/);
}
