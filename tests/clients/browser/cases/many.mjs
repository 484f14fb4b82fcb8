/** Many flags, many changes, many tabs. */
import assert from 'node:assert/strict';

import { seen, shown, shows, stands, until } from '../world.mjs';

const FLAGS = [{ key: 'checkout' }];
/** So many changes are made before the page has to have heard of them. */
const ROUND = 400;

async function together(count, run, width = 8) {
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < count) await run(next++);
  }));
}

export async function fifty_flags_flip_at_once(world) {
  const flags = Array.from({ length: 50 }, (_, i) => ({ key: `flag-${i}` }));
  await together(50, (i) => world.server.flag(`flag-${i}`, { browser: i % 2 === 0 ? 'values' : 'rules' }));
  const page = await world.show(world.site.page({ options: await world.options(), flags }));
  const are = (text) => [...document.querySelectorAll('[data-flag]')].every((cell) => cell.textContent === text);
  const all = (text) => until(() => page.evaluate(are, text), `all flags are ${text}`);
  await all('true');
  await world.picture(page, 'on');
  const before = (await seen(page)).changes.length;
  await world.server.killApp();
  await all('false');
  await world.picture(page, 'off');
  const { changes, shown: cells, problems } = await seen(page);
  assert.equal(changes.length - before, 1, 'one change says all of it');
  const flips = cells.slice(-50);
  assert.equal(new Set(flips.map(({ at }) => at)).size, 1, 'all in one task');
  assert.deepEqual(problems, []);
}

export async function memory_stays_flat_over_ten_thousand_changes(world) {
  await world.server.flag('checkout');
  const flags = Array.from({ length: 8 }, (_, i) => `flag-${i}`);
  for (const [i, key] of flags.entries()) await world.server.flag(key, { browser: i % 2 === 0 ? 'values' : 'rules' });
  const page = await world.show(world.site.page({ options: await world.options(), flags: FLAGS }));
  const used = await meter(page);
  const some = async (count) => {
    await together(flags.length, async (i) => {
      const path = `/v1/apps/shop/flags/${flags[i]}`;
      let { etag } = await world.server.send('GET', path);
      for (let n = 0; n < count / flags.length; n++) {
        const patch = { on: true, exposure: n % 100, serve: { variant: 'on' } };
        ({ etag } = await world.server.send('PATCH', `${path}/environments/trial`, patch, { 'if-match': etag }));
      }
    });
    await world.server.set('checkout', { exposure: 50 + (rounds++ % 2) });
    const revision = (await world.server.send('GET', '/v1/apps/shop/flags/checkout')).said.revision;
    const isThere = (revision) => window.client.status().revision >= revision;
    await until(() => page.evaluate(isThere, revision), 'the page has heard all of it');
  };
  let rounds = 0;
  const change = async (count) => {
    // A page that is far behind is told what is, and no longer what changed.
    for (let done = 0; done < count; done += ROUND) await some(ROUND);
    // What the test itself keeps is not the client's.
    return page.evaluate(() => [window.seen.changes, window.seen.shown, window.seen.statuses].map((kept) => kept.splice(0).length)[0]);
  };
  let heard = await change(2_000);
  const early = await used();
  const sizes = [early.wasm];
  let late = early;
  for (let round = 0; round < 4; round++) {
    heard += await change(2_000);
    late = await used();
    sizes.push(late.wasm);
  }
  console.log(`changes heard ${heard}, wasm ${sizes.join(' -> ')} bytes, JavaScript ${early.js} -> ${late.js} bytes`);
  assert.ok(heard > 2_000, `only ${heard} changes were told apart`);
  // It is as large as the most that ever came at once asked for. What is kept of each change, 32 bytes of it, takes a page of memory
  // more in every round.
  const grew = sizes.filter((size, round) => size > (sizes[round - 1] ?? size)).length;
  assert.ok(grew <= 2, `the module grew in ${grew} of 4 rounds: ${sizes.join(' -> ')}`);
  assert.ok(late.js < early.js + 512 * 1024, `JavaScript grew from ${early.js} to ${late.js} bytes`);
}

/** Says how much memory the page uses, after all that is not needed is gone. */
async function meter(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('HeapProfiler.enable');
  return async () => {
    for (let i = 0; i < 3; i++) await devtools.send('HeapProfiler.collectGarbage');
    const { usedSize } = await devtools.send('Runtime.getHeapUsage');
    const { result: prototype } = await devtools.send('Runtime.evaluate', { expression: 'WebAssembly.Memory.prototype' });
    const { objects } = await devtools.send('Runtime.queryObjects', { prototypeObjectId: prototype.objectId });
    const bytes = { functionDeclaration: 'function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }', objectId: objects.objectId, returnByValue: true };
    const { result } = await devtools.send('Runtime.callFunctionOn', bytes);
    assert.ok(result.value > 0);
    return { js: usedSize, wasm: result.value };
  };
}

async function pagesAre(world, count) {
  await until(async () => (await world.server.pages()).counts.pages === count, `${count} pages follow the server`);
}

export async function tabs_share_one_stream(world) {
  await world.server.flag('checkout');
  const url = world.site.page({ options: await world.options({ hiddenAfterMs: 600_000 }), flags: FLAGS });
  const tabs = [];
  for (let i = 0; i < 3; i++) tabs.push(await world.show(url));
  for (const tab of tabs) await stands(tab, 'live');
  await pagesAre(world, 1);
  await world.server.killFlag('checkout');
  for (const tab of tabs) await shows(tab, 'checkout', 'false');
  // The one that has the stream goes: another goes on with it.
  for (const tab of tabs.splice(0, 2)) {
    await tab.close();
    await pagesAre(world, 1);
  }
  await world.server.reviveFlag('checkout');
  await shows(tabs[0], 'checkout', 'true');
  await world.picture(tabs[0], 'last-tab');
}

export async function tabs_that_do_not_want_to_share_have_a_stream_each(world) {
  await world.server.flag('checkout');
  const url = world.site.page({ options: await world.options({ shareTabs: false, hiddenAfterMs: 600_000 }), flags: FLAGS });
  for (let i = 0; i < 2; i++) await stands(await world.show(url), 'live');
  await pagesAre(world, 2);
}

export async function a_tab_that_is_hidden_lets_its_stream_go_and_catches_up(world) {
  await world.server.flag('checkout');
  const page = await world.show(world.site.page({ options: await world.options({ hiddenAfterMs: 100 }), flags: FLAGS }));
  await stands(page, 'live');
  await pagesAre(world, 1);
  const other = await world.tab();
  await other.bringToFront();
  await until(() => page.evaluate(() => document.visibilityState === 'hidden'), 'the tab is hidden');
  await pagesAre(world, 0);
  await world.server.killFlag('checkout');
  assert.equal(await shown(page, 'checkout'), 'true');
  await page.bringToFront();
  await shows(page, 'checkout', 'false');
  await pagesAre(world, 1);
  await world.picture(page, 'back');
}
