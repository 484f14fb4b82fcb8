/** What each case has: a server, a relay in front of it, the app's site, and a new Chromium. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { Relay } from './relay.mjs';
import { PATIENCE_MS, Server } from './server.mjs';
import { Site } from './site.mjs';

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** As long as pages wait for a server that is not there, if nothing is said. */
export const SHORT_MS = 300;
const SCREENSHOTS = fileURLToPath(new URL('../../../target/browser/', import.meta.url));
/** Where Debian's package puts it. */
export const CHROMIUM = '/usr/bin/chromium';

export class World {
  closing = [];

  /** A browser, a site, and a server with a relay in front of it. */
  static async open(name, { settings } = {}) {
    return World.made(name, async (world) => {
      world.server = await Server.start(settings);
      world.closing.push(() => world.server.stop());
      world.relay = await Relay.to(world.server.port);
      world.closing.push(() => world.relay.refuse().catch(() => {}));
    });
  }

  /** A browser and a site. */
  static async inFrontOfNothing(name) {
    return World.made(name, async () => {});
  }

  static async made(name, prepare) {
    const world = new World();
    world.name = name;
    try {
      await prepare(world);
      world.site = await world.newSite();
      world.folder = await mkdtemp(join(tmpdir(), 'tidegate-chromium-'));
      world.closing.push(() => rm(world.folder, { recursive: true, force: true, maxRetries: 5 }));
      world.browser = await world.launch();
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  /** A browser as people have it: nothing is overridden in it, so what is out of sight is hidden. */
  async launch() {
    const words = [...ARGUMENTS, '--window-size=800,700', '--remote-debugging-port=0', `--user-data-dir=${this.folder}`, 'about:blank'];
    const process = spawn(CHROMIUM, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((resolve) => process.on('exit', resolve));
    this.closing.push(() => ended);
    this.closing.push(() => process.kill());
    let said = '';
    const address = await new Promise((resolve, reject) => {
      process.stderr.on('data', (piece) => {
        said += piece;
        const found = /DevTools listening on (ws:\S+)/.exec(said)?.[1];
        if (found !== undefined) resolve(found);
      });
      ended.then(() => reject(new Error(`Chromium does not start: ${said}`)));
    });
    const connected = await chromium.connectOverCDP(address, { noDefaults: true });
    this.closing.push(() => connected.close());
    return connected.contexts()[0];
  }

  async newSite() {
    const site = await Site.open();
    this.closing.push(() => site.close());
    return site;
  }

  async close() {
    for (const close of this.closing.reverse()) await close();
  }

  /**
   * A key for pages of the app's site, and the options of a client that goes through the relay. It begins when the server was heard:
   * a test looks at what the app shows then, and not at how soon; where the server is not to be heard, `waitMs` says how long it waits.
   */
  async options(more = {}) {
    const key = await this.server.pageKey(this.site.origin);
    return { url: this.relay.url, key, context: { targetingKey: 'ann' }, waitMs: PATIENCE_MS, ...more };
  }

  /** Opens an address in a new tab, and waits until the app shows its flags. */
  async show(url) {
    const page = await this.tab();
    await page.goto(url);
    await this.ready(page);
    return page;
  }

  /** A new tab that remembers what is said on its console. */
  async tab() {
    const page = await this.browser.newPage();
    const said = [];
    page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => said.push(`error: ${error.message}`));
    Object.assign(page, { said });
    page.setDefaultTimeout(PATIENCE_MS);
    return page;
  }

  async ready(page) {
    await until(() => page.evaluate(() => window.seen?.ready === true), 'the page is up');
  }

  /** Keeps how the page looks. */
  async picture(page, what) {
    await mkdir(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: join(SCREENSHOTS, `${this.name}-${what}.png`) });
  }
}

/** What a flag's cell shows. */
export function shown(page, key) {
  return page.textContent(`[data-flag="${key}"]`);
}

/** Waits until a flag's cell shows this. */
export async function shows(page, key, text) {
  await until(async () => (await shown(page, key)) === text, `${key} is ${text}`);
}

/** Waits until the client stands so. */
export async function stands(page, state) {
  await until(() => page.evaluate((state) => window.client.status().state === state, state), `the client is ${state}`);
}

/** All that the page kept for the test. */
export function seen(page) {
  return page.evaluate(() => window.seen);
}

/** Asks again until this holds. For what nothing announces. */
export async function until(holds, what) {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert.ok(performance.now() < end, `gave up waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
