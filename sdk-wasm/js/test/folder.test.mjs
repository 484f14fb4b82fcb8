/** The last good state in a folder of files, as servers keep it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { bundle } from "../testing/built.mjs";
import { flag, kill, snapshot } from "../testing/frames.mjs";
import { Server } from "../testing/server.mjs";
import { next, node } from "../testing/world.mjs";

const { keptIn } = await import(pathToFileURL(await bundle("src/folder.ts", { platform: "node" })).href);

async function place(t) {
  const folder = await mkdtemp(join(tmpdir(), "tidegate-kept-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, "made when it is needed");
}

test("a server begins with what it kept in a folder, kills included, while Tidegate is away", async (t) => {
  const folder = await place(t);
  const server = await Server.start(snapshot(7, [flag("checkout"), flag("other")]));
  t.after(() => server.stop());
  const client = await node(server, { storage: keptIn(folder) });
  const killed = next(client, "change", ({ killIds }) => killIds.length > 0);
  server.push(kill(8, "checkout"));
  await killed;
  await client.close();
  server.script = () => ({ hang: true });
  const again = await node(server, { storage: keptIn(folder), waitMs: 200 });
  t.after(() => again.close());
  assert.deepEqual([again.bool("checkout", {}, true), again.bool("other", {}, false)], [false, true]);
  assert.equal(again.status().state, "cached");
});

test("what was said last is kept, whole, for nobody else to read", async (t) => {
  const folder = await place(t);
  const storage = keptIn(folder);
  assert.equal(await storage.get("a"), null);
  await Promise.all(Array.from({ length: 20 }, (_, n) => storage.set("../a:b", `${n}`.repeat(10_000 - 400 * n))));
  assert.equal(await storage.get("../a:b"), "19".repeat(2_400));
  const [file, ...others] = await readdir(folder);
  assert.deepEqual(others, []);
  assert.equal((await stat(join(folder, file))).mode & 0o077, 0);
  await storage.remove("../a:b");
  await storage.remove("never there");
  assert.equal(await storage.get("../a:b"), null);
});

test("a server whose file was cut in half begins with nothing, and keeps what it hears then", async (t) => {
  const folder = await place(t);
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  await (await node(server, { storage: keptIn(folder) })).close();
  const file = join(folder, (await readdir(folder))[0]);
  const { size } = await stat(file);
  await truncate(file, size >> 1);
  server.script = () => ({ hang: true });
  const client = await node(server, { storage: keptIn(folder), waitMs: 50 });
  assert.deepEqual([client.bool("checkout", {}, false), client.status().state], [false, "starting"]);
  await client.close();
  server.script = () => undefined;
  await (await node(server, { storage: keptIn(folder) })).close();
  assert.equal((await stat(file)).size, size);
});

test("what is too large is as if it were not there, and a folder that cannot be one costs only the memory", async (t) => {
  const folder = await place(t);
  const storage = keptIn(folder);
  await storage.set("a", "x");
  const file = join(folder, (await readdir(folder))[0]);
  await truncate(file, 9 * 1024 * 1024);
  assert.equal(await storage.get("a"), null);
  const server = await Server.start(snapshot(7, [flag("checkout")]));
  t.after(() => server.stop());
  const client = await node(server, { storage: keptIn(join(file, "below a file")) });
  t.after(() => client.close());
  assert.equal(client.bool("checkout", {}, false), true);
});

test("of what a disk that hangs cannot keep only the last text waits under each name", async (t) => {
  const folder = await place(t);
  const storage = keptIn(folder);
  await storage.set("hangs", "");
  const pipe = join(folder, (await readdir(folder))[0]);
  await rm(pipe);
  await promisify(execFile)("mkfifo", [pipe]);
  const hangs = storage.get("hangs");
  const waiting = Array.from({ length: 100 }, (_, n) => (n % 10 === 3 ? storage.remove("a") : storage.set("a", `${n}`)));
  waiting.push(storage.set("b", "x"), storage.set("a", "last"));
  assert.equal(new Set(waiting).size, 2);
  await writeFile(pipe, "");
  await hangs;
  await Promise.all(waiting);
  assert.deepEqual([await storage.get("a"), await storage.get("b")], ["last", "x"]);
});

test("a folder holds so many states, and nothing that was left half written", async (t) => {
  const folder = await place(t);
  const storage = keptIn(folder);
  for (let n = 0; n < 32; n++) {
    await storage.set(`state-${n}`, `${n}`);
  }
  for (const [at, name] of (await readdir(folder)).sort().entries()) await utimes(join(folder, name), at, at);
  const half = join(folder, "x.tidegate.json.1-1.new");
  await writeFile(half, "");
  await utimes(half, 0, 0);
  await writeFile(join(folder, "somebody else's.txt"), "");
  await storage.set("one more", "x");
  const names = await readdir(folder);
  assert.equal(names.filter((name) => name.endsWith(".tidegate.json")).length, 32);
  assert.ok(names.includes("somebody else's.txt") && !names.some((name) => name.endsWith(".new")));
  assert.equal(await storage.get("one more"), "x");
  assert.equal(await storage.get("state-0"), null, "the one that was kept first");
});
