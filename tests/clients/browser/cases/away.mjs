/** The server is away, or says nothing any more. */
import assert from 'node:assert/strict';

import { seen, shown, SHORT_MS, shows, stands } from '../world.mjs';

const FLAGS = [{ key: 'checkout' }];
const DAYS_MS = 2 * 24 * 3_600_000;

export async function a_page_whose_server_is_down_goes_on_with_what_it_has_and_comes_back(world) {
  await world.server.flag('checkout');
  const options = await world.options({ url: world.server.url });
  const url = world.site.page({ options, flags: FLAGS });
  const page = await world.show(url);
  assert.equal(await shown(page, 'checkout'), 'true');
  await world.server.kill();
  await stands(page, 'stale');
  assert.equal(await shown(page, 'checkout'), 'true');
  await world.picture(page, 'stale');
  // Opened anew, with what was kept: a flag that was raised just now is not believed, one of two days ago is.
  world.site.page({ options: { ...options, waitMs: SHORT_MS }, flags: FLAGS });
  await page.reload();
  await world.ready(page);
  assert.equal(await shown(page, 'checkout'), 'false');
  const later = await world.tab();
  await later.clock.install({ time: Date.now() + DAYS_MS });
  await later.goto(url);
  await world.ready(later);
  assert.equal(await later.evaluate(() => window.client.status().state), 'cached');
  assert.equal(await shown(later, 'checkout'), 'true');
  await world.picture(later, 'cached');
  await later.close();
  await world.server.restart();
  await stands(page, 'live');
  await shows(page, 'checkout', 'true');
  await world.server.killFlag('checkout');
  await shows(page, 'checkout', 'false');
}

export async function a_silent_stream_is_given_up_and_what_was_missed_arrives(world) {
  await world.server.flag('checkout');
  const page = await world.show(world.site.page({ options: await world.options({ silenceMs: 1_000 }), flags: FLAGS }));
  assert.equal(await shown(page, 'checkout'), 'true');
  // What is open passes nothing on any more: only who gives it up hears of this.
  world.relay.silence();
  await world.server.killFlag('checkout');
  await shows(page, 'checkout', 'false');
  const { statuses } = await seen(page);
  assert.ok(statuses.includes('stale'), statuses.join());
  await world.picture(page, 'after-silence');
}

export async function a_flag_that_expires_while_the_server_is_away_goes_off_on_the_open_page_and_on_one_opened_later(world) {
  const expires = Date.now() + 12_000;
  await world.server.flag('checkout', { expires_at: expires });
  const options = await world.options();
  const url = world.site.page({ options, flags: FLAGS });
  const page = await world.show(url);
  assert.equal(await shown(page, 'checkout'), 'true');
  await world.relay.refuse();
  await shows(page, 'checkout', 'false');
  const { shown: cells } = await seen(page);
  const late = cells.at(-1).at - expires;
  assert.ok(late >= -50 && late < 15_000, `it went off ${late} ms after its date`);
  assert.equal(await page.evaluate(() => window.client.boolDetail('checkout', undefined, true).reason), 'expired');
  await world.picture(page, 'expired');
  world.site.page({ options: { ...options, waitMs: SHORT_MS }, flags: FLAGS });
  const later = await world.tab();
  await later.clock.install({ time: Date.now() + DAYS_MS });
  await later.goto(url);
  await world.ready(later);
  assert.deepEqual((await seen(later)).shown.map(({ text }) => text), ['false']);
  assert.equal(await later.evaluate(() => window.client.boolDetail('checkout', undefined, true).reason), 'expired');
}
