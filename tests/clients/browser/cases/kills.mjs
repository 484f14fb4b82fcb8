/** Kills reach pages: open ones at once, closed ones before they show anything. */
import assert from 'node:assert/strict';

import { seen, shown, SHORT_MS, shows, stands } from '../world.mjs';

const FLAGS = [{ key: 'checkout' }];

export async function a_kill_reaches_an_open_page(world) {
  await world.server.flag('checkout');
  const page = await world.show(world.site.page({ options: await world.options(), flags: FLAGS }));
  assert.equal(await shown(page, 'checkout'), 'true');
  await world.picture(page, 'before');
  await world.server.killFlag('checkout');
  await shows(page, 'checkout', 'false');
  await world.picture(page, 'after');
  const { changes, problems } = await seen(page);
  assert.deepEqual(changes.at(-1).flags, ['checkout']);
  assert.equal(changes.at(-1).killIds.length, 1);
  assert.deepEqual(problems, []);
  await world.server.reviveFlag('checkout');
  await shows(page, 'checkout', 'true');
}

/** What a page with this storage shows from its first moment on. */
async function reopened(world, page) {
  await page.reload();
  await world.ready(page);
  return (await seen(page)).shown.map(({ text }) => text);
}

export async function a_page_that_was_closed_when_its_flag_was_killed_never_shows_it_again(world) {
  await world.server.flag('checkout');
  const url = world.site.page({ options: await world.options(), flags: FLAGS });
  const page = await world.show(url);
  assert.equal(await shown(page, 'checkout'), 'true');
  assert.deepEqual(await reopened(world, page), ['true'], 'the kept state is there, and shown at once');
  await page.goto('about:blank');
  await world.server.killFlag('checkout');
  const again = await world.show(url);
  await stands(again, 'live');
  assert.deepEqual((await seen(again)).shown.map(({ text }) => text), ['false']);
  await world.picture(again, 'reopened');
}

export async function a_page_that_cannot_hear_of_a_kill_waits_no_longer_than_it_was_told_and_shows_the_flag_as_off(world) {
  await world.server.flag('checkout');
  const options = await world.options();
  const page = await world.show(world.site.page({ options, flags: FLAGS }));
  assert.equal(await shown(page, 'checkout'), 'true');
  await page.goto('about:blank');
  await world.server.killFlag('checkout');
  world.relay.cut();
  // Connections are taken, and nothing is ever heard on them.
  world.relay.target = await deaf(world);
  await page.goto(world.site.page({ options: { ...options, waitMs: SHORT_MS }, flags: FLAGS }));
  await world.ready(page);
  const { startMs, shown: cells } = await seen(page);
  assert.deepEqual(cells.map(({ text }) => text), ['false']);
  assert.equal(await page.evaluate(() => window.client.boolDetail('checkout', undefined, true).reason), 'unconfirmed');
  // Otherwise it waits until the stream is given up, after 45 seconds.
  assert.ok(startMs >= SHORT_MS - 50 && startMs < 15_000, `it waited ${startMs} ms`);
  await world.picture(page, 'unconfirmed');
  world.relay.target = world.server.port;
  world.relay.cut();
  await stands(page, 'live');
  assert.equal(await shown(page, 'checkout'), 'false');
}

/** A port on which nobody ever says anything. */
async function deaf(world) {
  const { createServer } = await import('node:net');
  const held = new Set();
  const listening = createServer((socket) => held.add(socket.on('error', () => {})));
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  world.closing.push(() => {
    held.forEach((socket) => socket.destroy());
    listening.close();
  });
  return listening.address().port;
}
