/** Runs one case: `TIDEGATE_BIN=… node run.mjs NAME`. Without a name: says which there are. */
import { readdir } from 'node:fs/promises';

import { World } from './world.mjs';

const files = await readdir(new URL('cases/', import.meta.url));
const cases = new Map();
for (const file of files.sort()) {
  for (const [name, run] of Object.entries(await import(`./cases/${file}`))) cases.set(name, run);
}

const [name] = process.argv.slice(2);
if (name === undefined) {
  console.log([...cases.keys()].join('\n'));
} else {
  const run = cases.get(name);
  if (run === undefined) throw new Error(`there is no case ${name}`);
  const world = await World.open(name, run.world);
  try {
    await run(world);
  } catch (error) {
    for (const page of world.browser.pages()) {
      console.error(page.url(), page.said ?? '', await page.evaluate(() => window.seen).catch(() => ''));
      await world.picture(page, 'failed').catch(() => {});
    }
    throw error;
  } finally {
    await world.close();
  }
}
