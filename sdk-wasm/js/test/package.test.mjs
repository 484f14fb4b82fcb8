/** The package as people install it: packed, put into an empty folder, and used there. Needs `make wasm`. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { root, wasmFile } from "../testing/built.mjs";
import { flag, snapshot } from "../testing/frames.mjs";
import { binary, RealServer } from "../testing/real.mjs";
import { Server } from "../testing/server.mjs";
import { SERVER_KEY } from "../testing/world.mjs";

const run = promisify(execFile);
const require = createRequire(join(root, "package.json"));
const tool = (name) => join(root, "node_modules/.bin", name);

/** The largest that the page's script may be, in bytes as they travel. Node packs by what the processor can: some bytes more or less. */
const MOST_PAGE_BYTES = 12.25 * 1024;

const withServer = binary === undefined ? { skip: "NOT TESTED: there is no binary; build the server, or set TIDEGATE_BIN" } : {};
const withWorkerd = has("workerd/bin/workerd") ? {} : { skip: "NOT TESTED: workerd is not installed" };

function has(file) {
  try {
    return require.resolve(file) !== "";
  } catch {
    return false;
  }
}

let folder;
let server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidegate-use-"));
  const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root });
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  const tarball = join(folder, stdout.trim().split("\n").at(-1));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--omit=peer", tarball], { cwd: folder });
  server = await Server.start(snapshot(7, [flag("checkout"), flag("title", { value: "Hello", off: "" })]));
});

after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const installed = () => join(folder, "node_modules/@tidegate/sdk");

test("the package holds what was built, and nothing else", async () => {
  const files = await readdir(installed(), { recursive: true });
  const odd = files.filter((file) => !/^(package\.json|README\.md|LICENSE.*|dist(\/.+)?)$/.test(file) || /test/.test(file));
  assert.deepEqual(odd, []);
  assert.ok(files.includes("README.md") && files.includes("LICENSE"), `${files}`);
  const { dependencies } = JSON.parse(await readFile(join(installed(), "package.json"), "utf8"));
  assert.equal(dependencies, undefined);
});

test("nothing is packed that was not built, or is not what was built", async () => {
  const bare = join(folder, "bare/sdk-wasm");
  for (const file of ["package.json", "prepack.mjs", "dist/README"]) await cp(join(root, file), join(bare, file));
  const pack = () => run("npm", ["pack", "--dry-run"], { cwd: bare });
  await assert.rejects(pack(), /make wasm/);
  await cp(join(root, "dist"), join(bare, "dist"), { recursive: true });
  await cp(join(root, "../LICENSE"), join(bare, "../LICENSE"));
  await pack();
  await writeFile(join(bare, "dist/tidegate.js"), "");
  await assert.rejects(pack(), /tidegate\.js is not what was built/);
});

test("a server begins with what its last process kept in a folder, which nobody else may read", async (t) => {
  const real = await Server.start(snapshot(7, [flag("checkout")]));
  const app = `
    import { Tidegate } from "@tidegate/sdk";
    import { keptIn, Tidegate as same } from "@tidegate/sdk/node";
    if (same !== Tidegate) throw new Error("there are two");
    const client = await Tidegate.start({ url: ${JSON.stringify(real.url)}, key: ${JSON.stringify(SERVER_KEY)}, storage: keptIn("kept"), waitMs: 2000 });
    console.log(JSON.stringify([client.bool("checkout", {}, false), client.status().state]));
    await client.close();
    process.exit(0);`;
  await writeFile(join(folder, "kept.mjs"), app);
  const begin = async () => JSON.parse((await run(process.execPath, ["kept.mjs"], { cwd: folder })).stdout);
  t.after(() => real.stop());
  assert.deepEqual(await begin(), [true, "live"]);
  const kept = join(folder, "kept");
  for (const file of [kept, ...(await readdir(kept)).map((name) => join(kept, name))]) {
    assert.equal((await stat(file)).mode & 0o077, 0, file);
  }
  real.script = () => ({ status: 503 });
  assert.deepEqual(await begin(), [true, "cached"]);
});

test("an app in an empty folder checks flags where nothing may be made of text", async () => {
  const app = `
    import { Tidegate } from "@tidegate/sdk";
    const client = await Tidegate.start({ url: ${JSON.stringify(server.url)}, key: ${JSON.stringify(SERVER_KEY)}, waitMs: 10000 });
    console.log(JSON.stringify([client.bool("checkout", { targetingKey: "ann" }, false), client.string("title", {}, ""), client.status().state]));
    await client.close();`;
  await writeFile(join(folder, "app.mjs"), app);
  const { stdout } = await run(process.execPath, ["--disallow-code-generation-from-strings", "app.mjs"], { cwd: folder });
  assert.deepEqual(JSON.parse(stdout), [true, "Hello", "live"]);
});

test("a page begins though its browser makes no large instance while it waits", async () => {
  const app = `
    import { Tidegate } from "@tidegate/sdk";
    WebAssembly.Instance = function () { throw new RangeError("disallowed on the main thread"); };
    const client = await Tidegate.start({ url: ${JSON.stringify(server.url)}, key: ${JSON.stringify(SERVER_KEY)}, waitMs: 10000 });
    console.log(client.bool("checkout", { targetingKey: "ann" }, false));
    await client.close();`;
  await writeFile(join(folder, "large.mjs"), app);
  const { stdout } = await run(process.execPath, ["large.mjs"], { cwd: folder });
  assert.equal(stdout, "true\n");
});

test("a program that has nothing else to do ends, though it never closed its client", async () => {
  const app = `
    import { Tidegate } from "@tidegate/sdk";
    const client = await Tidegate.start({ url: "http://127.0.0.1:1", key: ${JSON.stringify(SERVER_KEY)}, waitMs: 20 });
    console.log(client.bool("checkout", {}, true));`;
  await writeFile(join(folder, "brief.mjs"), app);
  const { stdout } = await run(process.execPath, ["brief.mjs"], { cwd: folder, timeout: 20_000 });
  assert.equal(stdout, "true\n");
});

test("the types say what there is, and refuse what there is not", async () => {
  const app = `
    import { Tidegate } from "@tidegate/sdk";
    import type { Change, Client, Context, Detail, Options, Status } from "@tidegate/sdk";
    const options: Options = { url: "https://a.example", key: "k", context: { targetingKey: "ann", tags: ["a"], since: new Date(), at: { b: { c: 1 } } } };
    const client: Client = await Tidegate.start(options);
    const context: Context = { targetingKey: "ann", plan: undefined };
    const on: boolean = client.bool("a", context, false);
    const text: string = client.string("a", undefined, "x");
    const size: { w: number } = client.json("a", {}, { w: 1 });
    const detail: Detail<number> = client.numberDetail("a", context, 3);
    const end: () => void = client.on("change", (change: Change) => console.log(change.flags === "all" ? "all" : change.flags[0]));
    client.on("status", (status: Status) => status.state === "cached" && console.log(status.savedAt));
    client.scope(context).finish({ bad: true });
    client.track("x", { latencyMs: 3 });
    console.log(on, text, size, detail.error === "other_context", end);
    // @ts-expect-error A fallback of another type.
    client.bool("a", context, "x");
    // @ts-expect-error No such event.
    client.on("kill", () => {});
    // @ts-expect-error A function is no attribute.
    client.bool("a", { b: () => 1 }, false);
    // @ts-expect-error The key is missing.
    await Tidegate.start({ url: "x" });
  `;
  for (const [module, moduleResolution, named] of [["nodenext", "nodenext", "sdk"], ["nodenext", "nodenext", "sdk/node"], ["esnext", "bundler", "sdk/node"]]) {
    const flags = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--types", "", "--lib", "es2022,dom", "--module", module, "--moduleResolution", moduleResolution];
    // A folder is something of Node's alone, of which TypeScript does not think where a bundler follows.
    const kept = `import { keptIn } from "@tidegate/${named}"; options.storage = keptIn("kept");`;
    await writeFile(join(folder, "typed.ts"), app + kept);
    const { stdout } = await run(tool("tsc"), [...flags, "typed.ts"], { cwd: folder }).catch((error) => error);
    assert.equal(stdout, "", `${moduleResolution} ${named}`);
  }
});

test("the page's script makes nothing of text, imports nothing, and names its module and what that has to hash to", async () => {
  const script = await readFile(join(installed(), "dist/tidegate.js"), "utf8");
  assert.doesNotMatch(script, /\beval\s*\(|new Function|Function\s*\(\s*["'`]|importScripts|node:|^\s*import\s*["'{*]/m);
  const [, name] = /new URL\(\s*["'`](tidegate-[0-9a-f]{16,}\.wasm)["'`]\s*,\s*import\.meta\.url\s*\)/.exec(script) ?? [];
  assert.ok(name, "bundlers find the module by this");
  const { createHash } = await import("node:crypto");
  const digest = createHash("sha384").update(await readFile(join(installed(), "dist", name))).digest("base64");
  assert.ok(script.includes(`sha384-${digest}`));
});

test("what is only for browsers says so to those who render on servers", async () => {
  assert.match(await readFile(join(installed(), "dist/react.js"), "utf8"), /^"use client";/);
});

test("what is sent, kept and said between tabs keeps its names", async () => {
  const words = `added advice age_s bad bad_requests batch bytes complete_below cost_micros count counts data digest do ended everything faults
    flag flag_revision flags follows frame from gone grant guarded_until instance items key kill_ids kind latency latency_us loss name needs
    now off outcomes renew_in_ms requests resume revision savedAt say sdk served slot slow slow_from_us split standing state status
    stream summaries tag to told uncounted unit units value variant variants where why`.split(/\s+/);
  const script = await readFile(join(installed(), "dist/tidegate-node.js"), "utf8");
  const sources = (await Promise.all((await readdir(join(root, "js/src"))).filter((name) => name.endsWith(".ts")).map((name) => readFile(join(root, "js/src", name), "utf8")))).join("");
  const has = (text, word) => new RegExp(`[.{,"]\\s*${word}\\b`).test(text);
  assert.deepEqual(words.filter((word) => has(sources, word) && !has(script, word)), []);
});

test("the page's script is small", async () => {
  const bytes = gzipSync(await readFile(join(installed(), "dist/tidegate.js")), { level: 9 }).length;
  assert.ok(bytes <= MOST_PAGE_BYTES, `${bytes} bytes of ${MOST_PAGE_BYTES}`);
});

test("a bundler takes the module along", async (t) => {
  let vite;
  try {
    vite = await import(require.resolve("vite").replace(/index\.cjs$/, "dist/node/index.js"));
  } catch (error) {
    return t.skip(`NOT TESTED: vite is not installed (${error.code})`);
  }
  const app = join(folder, "bundled");
  await mkdir(app, { recursive: true });
  await writeFile(join(app, "index.html"), '<script type="module" src="./main.js"></script>');
  await writeFile(join(app, "main.js"), 'import { Tidegate } from "@tidegate/sdk"; globalThis.client = Tidegate.start({ url: "/", key: "k" });');
  await vite.build({ root: app, logLevel: "error", build: { outDir: join(app, "out"), assetsInlineLimit: 0, target: "es2022" } });
  const assets = await readdir(join(app, "out/assets"));
  const module = assets.find((name) => name.endsWith(".wasm"));
  const script = assets.find((name) => name.endsWith(".js"));
  assert.deepEqual(await readFile(join(app, "out/assets", module)), await readFile(wasmFile));
  assert.ok((await readFile(join(app, "out/assets", script), "utf8")).includes(module));
});

test("the example's settings let Vite's development server find the module", async (t) => {
  let vite;
  try {
    vite = await import(require.resolve("vite").replace(/index\.cjs$/, "dist/node/index.js"));
  } catch (error) {
    return t.skip(`NOT TESTED: vite is not installed (${error.code})`);
  }
  const example = join(root, "js/examples/react");
  const app = join(folder, "developed");
  await cp(example, app, { recursive: true });
  await cp(installed(), join(app, "node_modules/@tidegate/sdk"), { recursive: true });
  await writeFile(join(app, "main.tsx"), 'import { Tidegate } from "@tidegate/sdk"; globalThis.client = Tidegate.start({ url: "/", key: "k" });');
  const developed = await vite.createServer({ root: app, configFile: join(app, "vite.config.js"), logLevel: "error", server: { port: 0, host: "127.0.0.1", ws: false } });
  await developed.listen();
  t.after(() => developed.close());
  const origin = developed.resolvedUrls.local[0];
  const get = async (path, base = origin) => {
    const answer = await fetch(new URL(path, base));
    return { url: answer.url, type: answer.headers.get("content-type"), bytes: Buffer.from(await answer.arrayBuffer()) };
  };
  const main = await get("main.tsx");
  const [, at] = /from "([^"]+)"/.exec(main.bytes) ?? [];
  const script = await get(at);
  const [, name] = /new URL\(\s*["'`]([^"'`]*tidegate-[0-9a-f]{16}\.wasm[^"'`]*)["'`]/.exec(script.bytes) ?? [];
  const module = await get(name, script.url);
  assert.equal(module.type, "application/wasm");
  assert.deepEqual(module.bytes, await readFile(wasmFile));
});

/** A worker in a runtime that compiles nothing while it runs, and lets nothing be done between requests; asks it for a path. */
async function edge(t, { entry, suffix = "", options }) {
  const app = join(folder, `edge-${entry}`);
  await cp(join(installed(), "dist"), app, { recursive: true });
  const module = (await readdir(app)).find((name) => /^tidegate-[0-9a-f]{16}\.wasm$/.test(name));
  const worker = `
    import { Tidegate } from "./${entry}";
    let client;
    // The clock that checks and refreshes read, which a test sets forward.
    const elapsed = performance.now.bind(performance);
    let passed = 0;
    performance.now = () => elapsed() + passed;
    export default {
      async fetch({ url }) {
        try {
          passed += Number(new URL(url).searchParams.get("later"));
          client ??= await Tidegate.start(${JSON.stringify({ waitMs: 10_000, ...options })});
          if (new URL(url).pathname === "/refresh") await client.refresh();
          return Response.json([client.bool("checkout", { targetingKey: "ann" }, false), client.string("title", {}, ""), client.status()]);
        } catch (error) {
          return Response.json([String(error.stack)]);
        }
      },
    };`;
  await writeFile(join(app, "worker.js"), worker);
  const port = await freePort();
  const config = `
    using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [(name = "main", worker = .worker), (name = "internet", network = (allow = ["private", "public"]))],
      sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
    );
    const worker :Workerd.Worker = (
      modules = [
        (name = "worker.js", esModule = embed "worker.js"),
        (name = "${entry}", esModule = embed "${entry}"),
        (name = "${module}${suffix}", wasm = embed "${module}"),
      ],
      compatibilityDate = "2025-06-01",
    );`;
  await writeFile(join(app, "config.capnp"), config);
  const running = spawn(require.resolve("workerd/bin/workerd"), ["serve", "config.capnp"], { cwd: app, stdio: ["ignore", "inherit", "pipe"] });
  let said = "";
  running.stderr.on("data", (piece) => (said += piece));
  t.after(() => running.kill());
  return async (path) => {
    for (;;) {
      if (running.exitCode !== null) throw new Error(`workerd ended: ${said}`);
      try {
        return await (await fetch(`http://127.0.0.1:${port}${path}`)).json();
      } catch (error) {
        if (error.cause?.code !== "ECONNREFUSED") throw new Error(`${error.cause ?? error}: ${said}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
}

/** Whoever asks for news in the second in which the server was heard has them already, as far as anybody knows. */
const REFRESH = "/refresh?later=1001";

for (const [entry, suffix] of [["tidegate-edge.js", ""], ["tidegate-edge-light.js", "?module"]]) {
  test(`a runtime that compiles nothing while it runs checks flags by ${entry}, and asks the server when it is told to`, withWorkerd, async (t) => {
    server.snapshot = snapshot(7, [flag("checkout"), flag("title", { value: "Hello", off: "" })]);
    const ask = await edge(t, { entry, suffix, options: { url: server.url, key: SERVER_KEY } });
    assert.deepEqual(await ask("/"), [true, "Hello", { state: "live", revision: 7 }]);
    server.snapshot = snapshot(9, [flag("checkout", { value: false, revision: 9 }), flag("title", { value: "Bye", off: "" })]);
    assert.deepEqual(await ask(REFRESH), [false, "Bye", { state: "live", revision: 9 }]);
  });
}

test("at the edge one refresh takes in all that changed, and a silence is noticed", { ...withWorkerd, ...withServer }, async (t) => {
  const real = await RealServer.start();
  t.after(() => real.stop());
  await real.command("app", "create", "shop", "--owner", "ada@example.org");
  await real.command("flag", "create", "checkout", "--description", "the new one");
  await real.command("flag", "on", "checkout", "--env", "sandbox");
  const key = await real.token("sdk-server");
  const ask = await edge(t, { entry: "tidegate-edge.js", options: { url: real.url, key, silenceMs: 3_000 } });
  assert.equal((await ask("/"))[0], true);
  for (const other of ["one", "two", "three"]) await real.command("flag", "create", other, "--description", "another one");
  await real.command("flag", "kill", "checkout");
  const [on, , { state }] = await ask(REFRESH);
  assert.deepEqual([on, state], [false, "live"]);
  assert.equal((await ask("/?later=3001"))[2].state, "stale");
});

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
