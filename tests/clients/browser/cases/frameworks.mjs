/** Apps that use React or OpenFeature, and what pages tell when they are left. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { PATIENCE_MS } from '../server.mjs';
import { DIST } from '../site.mjs';
import { seen, shown, shows, stands, until } from '../world.mjs';

const EXAMPLE = fileURLToPath(new URL('../../../../sdk-wasm/js/examples/react/', import.meta.url));
const PACKAGES = fileURLToPath(new URL('../node_modules', import.meta.url));
const SDK = {
  '@tidegate/sdk': `${DIST}/tidegate.js`,
  '@tidegate/sdk/react': `${DIST}/react.js`,
  '@tidegate/sdk/openfeature-web': `${DIST}/openfeature-web.js`,
};

/** Bundles an app as its own build would, and puts it on a site, where the module lies beside it; answers with where the page is. */
async function bundled(site, html, entry) {
  const settings = { bundle: true, format: 'esm', jsx: 'automatic', write: false, minify: true, nodePaths: [PACKAGES], alias: SDK };
  const define = { 'process.env.NODE_ENV': '"production"' };
  const { outputFiles } = await build({ ...settings, ...entry, define, outdir: '/', entryNames: 'main' });
  for (const { path, contents } of outputFiles) site.files.set(path, contents);
  site.files.set('/', html);
  return site.origin;
}

export async function a_react_app_renders_again_on_a_kill(world) {
  await world.server.flag('checkout');
  await world.server.flag('title', { type: 'string', variants: [{ key: 'on', value: 'New checkout' }, { key: 'off', value: 'Checkout' }], off_variant: 'off' });
  const { url, key } = await world.options();
  const html = (await readFile(`${EXAMPLE}index.html`, 'utf8')).replace('http://127.0.0.1:8080', url).replace('tg_sdk-browser_…', key);
  const address = await bundled(world.site, html.replace('./main.tsx', './main.js'), { entryPoints: [`${EXAMPLE}main.tsx`] });
  const page = await world.tab();
  await page.goto(address);
  const way = (text) => until(async () => (await page.textContent('#way')) === text, text);
  await way('Pay with one click');
  assert.equal(await page.textContent('h2'), 'New checkout');
  assert.equal(await page.textContent('#state'), 'Flags are live.');
  await page.click('button');
  await world.picture(page, 'before');
  await world.server.killFlag('checkout');
  await way('Fill in the form');
  assert.equal(await page.textContent('h2'), 'New checkout');
  assert.equal(await page.textContent('#paid'), '1', 'what the page held is still there');
  await world.picture(page, 'after');
  await world.server.kill();
  await until(async () => (await page.textContent('#state')) === 'Flags are stale.', 'the page says that it is cut off');
}

const OPENFEATURE = `
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { Tidegate } from '@tidegate/sdk';
import { TidegateWebProvider } from '@tidegate/sdk/openfeature-web';
const { options } = JSON.parse(document.getElementById('app').textContent);
const events = (window.events = []);
const client = (window.flags = OpenFeature.getClient());
window.setContext = (context) => OpenFeature.setContext(context);
for (const event of Object.values(ProviderEvents)) {
  client.addHandler(event, ({ flagsChanged }) => events.push({ event, flagsChanged, value: client.getBooleanValue('checkout', true) }));
}
OpenFeature.setProvider(new TidegateWebProvider(Tidegate, options), { targetingKey: 'ann' });
`;

export async function openfeature_hears_of_kills_of_absence_and_of_another_context(world) {
  await world.server.flag('checkout');
  const { url, key } = await world.options();
  // Without this, a machine that is busy for 300 ms has the provider begin with an error.
  const options = { url, key, waitMs: PATIENCE_MS };
  const html = `<!doctype html><title>OpenFeature</title><link rel="icon" href="data:,"><script type="application/json" id="app">${JSON.stringify({ options })}</script><script type="module" src="main.js"></script>`;
  const address = await bundled(world.site, html, { stdin: { contents: OPENFEATURE, resolveDir: PACKAGES } });
  const page = await world.tab();
  await page.goto(address);
  const events = () => page.evaluate(() => window.events ?? []);
  const heard = (kinds) => until(async () => (await events()).map(({ event }) => event).join() === kinds.join(), kinds.join());
  await heard(['PROVIDER_READY']);
  await world.server.killFlag('checkout');
  await heard(['PROVIDER_READY', 'PROVIDER_CONFIGURATION_CHANGED']);
  const { flagsChanged, value } = (await events())[1];
  assert.deepEqual([flagsChanged, value], [['checkout'], false]);
  await page.evaluate(() => window.setContext({ targetingKey: 'ben' }));
  const before = ['PROVIDER_READY', 'PROVIDER_CONFIGURATION_CHANGED', 'PROVIDER_RECONCILING', 'PROVIDER_CONTEXT_CHANGED'];
  await heard(before);
  await world.relay.refuse();
  await heard([...before, 'PROVIDER_STALE']);
  await world.relay.accept();
  await heard([...before, 'PROVIDER_STALE', 'PROVIDER_READY']);
}

export async function a_page_that_is_left_tells_what_became_of_what_it_was_served(world) {
  await world.server.flag('checkout');
  const options = await world.options({ capture: true });
  const page = await world.show(world.site.page({ options, flags: [{ key: 'checkout' }] }));
  await stands(page, 'live');
  assert.equal(await shown(page, 'checkout'), 'true');
  await page.evaluate(() => {
    // No flag is checked between this end and the next.
    window.client.track('paid');
    setTimeout(() => {
      throw new Error('something of the app broke');
    });
  });
  await until(async () => (await seen(page)).problems.length > 0, 'the app broke');
  await page.goto('about:blank');
  const told = () => world.relay.posted('/v1/page/outcomes');
  const ended = () => told().flatMap((body) => body.ended ?? []);
  await until(() => ended().some(({ name }) => name === 'error'), 'the error is told of');
  const error = ended().find(({ name }) => name === 'error');
  assert.equal(error.bad, true);
  assert.deepEqual(error.flags.map(({ key, variant }) => [key, variant]), [['checkout', 'on']]);
  assert.ok(ended().some(({ name, bad }) => name === 'load' && !bad), JSON.stringify(told()));
  assert.equal(JSON.stringify(told()).includes('broke'), false, 'no words of the app are told');
}
