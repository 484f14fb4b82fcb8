/**
 * What a check costs in JavaScript: ours, the same rule written out by hand, and other SDKs with the same flag, all in one run, in
 * Node and in Chromium. `make wasm` first, and `npm ci` in `sdk-wasm` and in `tests/clients/browser`.
 *
 *   node loadtest/js/check-bench.mjs [--without-chromium] [--only NAME,...] [--rounds N] [--json]
 *
 * With `--json` it prints what each round took in Node, by the CPU time of the process, and judges nothing; with `--only` only these are measured, which have to
 * have `ours` and `hand` among them. `--rounds` is how many there are in Node, 15 by default.
 */
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { byHand, byHandAsData, growthBook, launchDarkly, tidegate, unleash } from './contenders.mjs';
import { agree, measure, share } from './measure.mjs';

const SDK = fileURLToPath(new URL('../../sdk-wasm/', import.meta.url));
const require = createRequire(`${SDK}package.json`);
/**
 * What is promised of browsers and Node alike, for somebody new: times the rule by hand, by the clock. The load test holds Node alone to less,
 * by CPU time: its bar is in `loadtest/scenarios/sdk.toml`, and stands there because this run with --json judges nothing.
 */
const TIMES_BY_HAND = 3;

/** Most rounds. */
const MOST_ROUNDS = 1_000;

const NAMES = {
  ours: 'Tidegate',
  hand: 'by hand, with the clock that an expiry needs',
  handWithoutClock: 'by hand, without a clock',
  handAsData: 'by hand, the rule as data, with the clock',
  growthBook: 'GrowthBook 1.8.0',
  unleash: 'Unleash 6.12.1',
  launchDarkly: 'LaunchDarkly 9.13.7 (awaited)',
};

/** Who is measured: all, or those behind `--only`. */
function wanted() {
  const at = process.argv.indexOf('--only');
  if (at < 0) return Object.keys(NAMES);
  const names = (process.argv[at + 1] ?? '').split(',');
  const unknown = names.filter((name) => !(name in NAMES));
  if (unknown.length > 0) throw new Error(`--only: \`${unknown.join(', ')}\` is none of ${Object.keys(NAMES).join(', ')}`);
  if (!['ours', 'hand'].every((name) => names.includes(name))) throw new Error('--only needs `ours` and `hand`, which are compared');
  return Object.keys(NAMES).filter((name) => names.includes(name));
}

/** How many rounds are wanted, if it is said. */
function wantedRounds() {
  const at = process.argv.indexOf('--rounds');
  if (at < 0) return undefined;
  const rounds = Number(process.argv[at + 1]);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > MOST_ROUNDS) throw new Error(`--rounds needs a whole number from 1 to ${MOST_ROUNDS}`);
  return rounds;
}

/** Ours, and what is written by hand. */
const OF_OUR_OWN = new Set(['ours', 'hand', 'handWithoutClock', 'handAsData']);

/** What the process has had of its cores: on a machine that others use too, time passes quicker. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function inNode() {
  const { Tidegate } = await import(pathToFileURL(`${SDK}dist/tidegate-node.js`).href);
  const ours = await tidegate(Tidegate, 'tg_sdk-server_bench_bench');
  const make = {
    ours: () => ours,
    hand: () => byHand({ clock: true }),
    handWithoutClock: () => byHand({ clock: false }),
    handAsData: byHandAsData,
    growthBook: () => growthBook(require('@growthbook/growthbook')),
    unleash: () => unleash(require('unleash-client')),
    launchDarkly: () => launchDarkly(require('@launchdarkly/node-server-sdk'), require('@launchdarkly/node-server-sdk/integrations')),
  };
  const contenders = {};
  for (const name of wanted()) contenders[name] = await make[name]();
  const all = Object.values(contenders);
  const { medians, rounds } = await measure(all, process.argv.includes('--json') ? cpuMs : undefined, wantedRounds());
  const shares = [];
  for (const contender of all) shares.push(await share(contender));
  const agrees = [contenders.hand, contenders.handAsData].every((hand) => hand === undefined || agree(ours, hand));
  for (const { close } of all) await close?.();
  return { names: Object.keys(contenders), medians, rounds, shares, agrees };
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
  const faster = medians.filter((_, i) => !OF_OUR_OWN.has(names[i])).every((other) => other.fresh > ours.fresh && other.again > ours.again);
  if (!agrees) console.log('MISSED: ours and the rule by hand differ');
  if (slower > TIMES_BY_HAND) console.log(`MISSED: at most ${TIMES_BY_HAND} times the rule by hand`);
  if (!faster) console.log('MISSED: another SDK is faster');
  return agrees && faster && slower <= TIMES_BY_HAND;
}

const node = await inNode();
if (process.argv.includes('--json')) {
  const rounds = Object.fromEntries(node.names.map((name, i) => [name, node.rounds[i]]));
  console.log(JSON.stringify({ agrees: node.agrees, rounds }));
  process.exit(0);
}
let kept = report('Node', node);
if (!process.argv.includes('--without-chromium')) kept = report('Chromium', await inChromium()) && kept;
process.exitCode = kept ? 0 : 1;
