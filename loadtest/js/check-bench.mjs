/**
 * What a check costs in JavaScript: ours, the same rule written out by hand, and other SDKs with the same flag, all in one run, in
 * Node and in Chromium. `make wasm` first, and `npm ci` in `sdk-wasm` and in `tests/clients/browser`.
 *
 *   node loadtest/js/check-bench.mjs [--without-chromium]
 */
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { byHand, growthBook, launchDarkly, tidegate, unleash } from './contenders.mjs';
import { agree, measure, share } from './measure.mjs';

const SDK = fileURLToPath(new URL('../../sdk-wasm/', import.meta.url));
const require = createRequire(`${SDK}package.json`);
/** What the project promises: times the rule by hand. */
const TIMES_BY_HAND = 3;

const NAMES = {
  ours: 'Tidegate',
  hand: 'by hand, with the clock that an expiry needs',
  handWithoutClock: 'by hand, without a clock',
  growthBook: 'GrowthBook 1.8.0',
  unleash: 'Unleash 6.12.1',
  launchDarkly: 'LaunchDarkly 9.13.7 (awaited)',
};

async function inNode() {
  const { Tidegate } = await import(pathToFileURL(`${SDK}dist/tidegate-node.js`).href);
  const ours = await tidegate(Tidegate, 'tg_sdk-server_bench_bench');
  const contenders = {
    ours,
    hand: byHand({ clock: true }),
    handWithoutClock: byHand({ clock: false }),
    growthBook: growthBook(require('@growthbook/growthbook')),
    unleash: await unleash(require('unleash-client')),
    launchDarkly: await launchDarkly(require('@launchdarkly/node-server-sdk'), require('@launchdarkly/node-server-sdk/integrations')),
  };
  const all = Object.values(contenders);
  const { medians } = await measure(all);
  const shares = [];
  for (const contender of all) shares.push(await share(contender));
  const agrees = agree(ours, contenders.hand);
  for (const { close } of all) await close?.();
  return { names: Object.keys(contenders), medians, shares, agrees };
}

async function inChromium() {
  const { build } = createRequire(new URL('../../tests/clients/browser/package.json', import.meta.url))('esbuild');
  const { World } = await import('../../tests/clients/browser/world.mjs');
  const entry = fileURLToPath(new URL('in-page.mjs', import.meta.url));
  const settings = { bundle: true, format: 'esm', write: false, nodePaths: [`${SDK}node_modules`] };
  const { outputFiles } = await build({ entryPoints: [entry], ...settings });
  const world = await World.inFrontOfNothing('check-bench');
  try {
    world.site.files.set('/', '<!doctype html><title>Bench</title><link rel="icon" href="data:,"><script type="module" src="/bench.js"></script>');
    world.site.files.set('/bench.js', outputFiles[0].text);
    const page = await world.tab();
    await page.goto(world.site.origin);
    await page.waitForFunction(() => window.bench !== undefined);
    return await page.evaluate(() => window.bench('/sdk/tidegate.js'));
  } finally {
    await world.close();
  }
}

function report(where, { names, medians, shares, agrees }) {
  console.log(`\n${where}: nanoseconds a check          somebody new   the same again   on for`);
  for (const [i, name] of names.entries()) {
    const figures = [medians[i].fresh, medians[i].again].map((ns) => ns.toFixed(0).padStart(14)).join('');
    console.log(`${NAMES[name].padEnd(46)}${figures}${`${(100 * shares[i]).toFixed(1)} %`.padStart(11)}`);
  }
  const [ours, hand] = medians;
  const slower = ours.fresh / hand.fresh;
  console.log(`ours: ${slower.toFixed(2)} times the rule by hand for somebody new, ${(ours.again / hand.again).toFixed(2)} for the same again`);
  const faster = medians.slice(3).every((other) => other.fresh > ours.fresh && other.again > ours.again);
  if (!agrees) console.log('MISSED: ours and the rule by hand differ');
  if (slower > TIMES_BY_HAND) console.log(`MISSED: at most ${TIMES_BY_HAND} times the rule by hand`);
  if (!faster) console.log('MISSED: another SDK is faster');
  return agrees && faster && slower <= TIMES_BY_HAND;
}

let kept = report('Node', await inNode());
if (!process.argv.includes('--without-chromium')) kept = report('Chromium', await inChromium()) && kept;
process.exitCode = kept ? 0 : 1;
