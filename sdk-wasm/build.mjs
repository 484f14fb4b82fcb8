/**
 * Builds the SDK for JavaScript: the core as WebAssembly, what connects it, and the scripts around it, into `dist/`.
 *
 *   node build.mjs [--dist FOLDER] [--generated FOLDER] [--features NAME,…] [--connector FILE] [--module-only | --small-module-only]
 *
 * There are two modules of the same sources: a small one for all that travels to pages and to the edge, and a quick one for Node,
 * which reads it from its disk. The same sources and the same compiler make the same bytes, wherever they lie.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const HERE = dirname(fileURLToPath(import.meta.url));
const REPOSITORY = dirname(HERE);
/** What this ends with if a tool is not here. */
const MISSING = 3;
const TARGET = "wasm32-unknown-unknown";
const CONNECTOR = "tidegate-wasm-build";
const DEBIAN = { cargo: "/usr/bin/cargo", rustc: "/usr/bin/rustc" };
/** What browsers have had for years. */
const FEATURES = ["bulk-memory", "bulk-memory-opt", "call-indirect-overlong", "multivalue", "mutable-globals",
  "nontrapping-float-to-int", "reference-types", "sign-ext"];
/**
 * What parts of the client call each other's members, which each page would pay for. Nothing of it is in the package's types, in
 * what is sent or kept, in what tabs say to each other, or of a platform: where one of these is a platform's name too, it is written
 * in quotes there, and so stays.
 */
const OURS = `
  address again around attribute base beacon begin cached catchUp changed channel clock confirm connect connected copy core correct
  cutOff dead disconnect driver due ears elapsed epoch exact export fallsAt fault flush forward generation granted
  guardedUntil heap heard home host inbox input isHeard isHidden isKept isOwn isPage keep kept lastRevision lasts link live lost
  memoryFor mode names note noticed onChange onEnded onFault onGrant onLeaving onOtherContext onReopened onRest onState onStatus
  onTag open options page pass position problem random ready renew reopened rest row said secret seen session settledUntil stood
  system table take takes takeServed tell teller tick touched unconfirmed until wakeAt wakesAt wanted write
`.trim().split(/\s+/);

const { values: options } = parseArgs({
  options: {
    dist: { type: "string", default: join(HERE, "dist") },
    generated: { type: "string", default: join(HERE, "generated") },
    features: { type: "string", default: "" },
    /** What connects a module, built before; else it is built. */
    connector: { type: "string" },
    "module-only": { type: "boolean", default: false },
    "small-module-only": { type: "boolean", default: false },
  },
});
const dist = resolve(options.dist);
const generated = resolve(options.generated);

/** How a module is made: what cargo is told beside the profile `wasm`, and how wasm-opt goes over it. */
const SMALL = {
  generated,
  /** Of the libraries that are made anew, where they are. */
  libraries: ["-Zbuild-std-features=optimize_for_size"],
  config: [],
  features: [],
  optimised: ["-Oz", "--converge"],
  name: (bytes) => `tidegate-${createHash("sha384").update(bytes).digest("hex").slice(0, 16)}.wasm`,
};
/** Not a profile of its own: so it shares all that was built to run here, such as macros. */
const QUICK = {
  generated: join(generated, "node"),
  libraries: [],
  config: ["--config", "profile.wasm.opt-level=3"],
  features: ["quick"],
  optimised: ["-O3"],
  name: () => "tidegate-node.wasm",
};

const toolchain = findToolchain();
emptyDist();
// The small one last: what cargo leaves is looked into by those who ask what is in it.
const quick = options["small-module-only"] ? undefined : buildModule(QUICK);
const wasm = buildModule(SMALL);
const files = options["module-only"] || quick === undefined ? [wasm] : [wasm, ...await buildScripts()];
writeManifest();

/** The ordinary target where rustup has it, else Debian's toolchain and the sources of Rust's own libraries. */
function findToolchain() {
  const libraries = () => said("rustc", ["--print", "target-libdir", "--target", TARGET]);
  const has = (folder) => folder !== "" && existsSync(folder) && readdirSync(folder).some((name) => name.startsWith("libcore"));
  if (!has(libraries())) spawnSync("rustup", ["target", "add", TARGET], { stdio: "ignore" });
  if (has(libraries())) {
    return { cargo: "cargo", rustc: said("rustc", ["--version"]), env: {}, flags: [], target: targetFolder() };
  }
  const sysroot = said(DEBIAN.rustc, ["--print", "sysroot"]);
  if (!existsSync(join(sysroot, "lib/rustlib/src/rust/library/core")) || !existsSync(DEBIAN.cargo)) {
    missing(`no way to build for ${TARGET}: \`rustup target add ${TARGET}\`, or as root on Debian ` +
      "`apt-get install rustc-web cargo-web rust-web-src lld`");
  }
  return {
    cargo: DEBIAN.cargo,
    rustc: said(DEBIAN.rustc, ["--version"]),
    env: {
      RUSTC: DEBIAN.rustc,
      // Making the libraries anew is not stable; the code that is built is.
      RUSTC_BOOTSTRAP: "1",
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: findLinker(),
    },
    flags: ["-Zbuild-std=core,alloc"],
    // Another compiler would make everything in the usual folder anew, and be made anew by it.
    target: join(targetFolder(), "wasm"),
  };
}

/** Debian's Rust brings no linker for WebAssembly: LLVM's own, or one that rustup brought. */
function findLinker() {
  const folders = (parent, inner) => existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name, inner)) : [];
  const rustup = process.env.RUSTUP_HOME ?? join(homedir(), ".rustup");
  const linkers = [
    ...folders("/usr/lib/rustlib", "bin/rust-lld"),
    "/usr/bin/wasm-ld",
    ...folders("/usr/lib", "bin/wasm-ld").filter((path) => /\/llvm-\d+\//.test(path)),
    ...folders(join(rustup, "toolchains"), "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"),
  ];
  return linkers.find((path) => existsSync(path)) ?? missing("no linker for WebAssembly: as root on Debian `apt-get install lld`");
}

function targetFolder() {
  return resolve(REPOSITORY, process.env.CARGO_TARGET_DIR ?? "target");
}

/** Everything goes but what says what the folder is for. */
function emptyDist() {
  mkdirSync(dist, { recursive: true });
  for (const name of readdirSync(dist)) {
    if (name !== "README") rmSync(join(dist, name), { recursive: true });
  }
}

/** Compiles the core, connects it and goes over it once more; the file's name. */
function buildModule({ generated, libraries, config, features: own, optimised, name }) {
  const { cargo, env, target } = toolchain;
  const flags = toolchain.flags.length === 0 ? [] : [...toolchain.flags, ...libraries];
  const common = { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: "" };
  const features = [...own, options.features].filter((name) => name !== "").flatMap((name) => ["--features", name]);
  const args = ["build", "--locked", "--quiet", "--profile", "wasm", ...config, "--target", TARGET, "-p", "tidegate-wasm"];
  // Panics name the files that they are in, and those must not hang on where they lie here.
  delete common.RUSTFLAGS;
  run(cargo, [...args, ...features, ...flags], { ...common, ...env, CARGO_ENCODED_RUSTFLAGS: remapped().join("\x1f") });
  const compiled = join(target, TARGET, "wasm/tidegate_wasm.wasm");
  mkdirSync(generated, { recursive: true });
  run(options.connector ?? buildConnector(common), [compiled, generated]);
  const script = readFileSync(join(generated, "core.js"), "utf8")
    // What is not used shall fall away when scripts are bundled.
    .replace(/^if \(Symbol\.dispose\).*\n/m, "")
    .replace(": new FinalizationRegistry", ": /* @__PURE__ */ new FinalizationRegistry");
  writeFileSync(join(generated, "core.js"), script);
  const made = join(generated, "core.wasm");
  run(tool("wasm-opt"), [join(generated, "core_bg.wasm"), "-o", made, ...optimised,
    // Nothing lies in the first kilobyte: it is the stack's very end.
    "--low-memory-unused", "--strip-debug", "--strip-producers", "--strip-target-features",
    ...FEATURES.map((name) => `--enable-${name}`)]);
  const bytes = readFileSync(made);
  writeFileSync(join(dist, name(bytes)), bytes);
  return name(bytes);
}

/** Compiles what connects a module, with the features that all of the workspace has: so it shares what other builds compile. */
function buildConnector(common) {
  const { cargo, target } = toolchain;
  const env = cargo === DEBIAN.cargo ? { ...common, RUSTC: DEBIAN.rustc } : common;
  run(cargo, ["build", "--locked", "--quiet", "--workspace", "--bin", CONNECTOR], env);
  return join(target, "debug", CONNECTOR);
}

/** Paths are told from the top of the repository, or from the registry. */
function remapped() {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), ".cargo");
  const registry = join(cargoHome, "registry/src");
  const registries = existsSync(registry) ? readdirSync(registry).map((name) => join(registry, name)) : [];
  const sources = [[REPOSITORY, ""], ...registries.map((folder) => [folder, ""])];
  return sources.map(([from, to]) => `--remap-path-prefix=${from}/=${to}`);
}

/** Bundles the scripts, and says their types. */
async function buildScripts() {
  const { build, transform } = await import("esbuild");
  const integrity = (name) => `sha384-${createHash("sha384").update(readFileSync(join(dist, name))).digest("base64")}`;
  const { version } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  const common = {
    bundle: true, minify: true, format: "esm", target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning",
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    define: {
      __WASM_FILE__: JSON.stringify(wasm),
      __NODE_WASM_FILE__: JSON.stringify(quick),
      __WASM_INTEGRITY__: JSON.stringify(integrity(wasm)),
      TIDEGATE_VERSION: JSON.stringify(version),
    },
    external: ["node:*", "react", "@openfeature/core", "@openfeature/web-sdk", "@openfeature/server-sdk"],
  };
  /** Runtimes at the edge compile nothing: they import the module as such. */
  const asModule = (suffix) => ({
    name: "module",
    setup(build) {
      build.onResolve({ filter: /^tidegate\.wasm$/ }, () => ({ path: `./${wasm}${suffix}`, external: true }));
    },
  });
  /** esbuild leaves constants of files that import others in variables: they are put where they are used, in other files too. */
  const sources = join(HERE, "js/src");
  const constantsOf = (source) =>
    [...source.matchAll(/^(export )?const ([A-Z_]+) = (-?[\w. *]+|"[^"]*");$/gm)].map(([, exported, name, value]) => ({ exported, name, value }));
  const shared = readdirSync(sources).filter((name) => name.endsWith(".ts"))
    .flatMap((name) => constantsOf(readFileSync(join(sources, name), "utf8"))).filter(({ exported }) => exported);
  const constants = {
    name: "constants",
    setup(build) {
      build.onLoad({ filter: /\/js\/src\/.*\.ts$/ }, ({ path }) => {
        const source = readFileSync(path, "utf8");
        const own = constantsOf(source);
        const imported = shared.filter(({ name }) => new RegExp(`^import \\{.*\\b${name}\\b`, "m").test(source));
        const filled = [...own, ...imported].reduce(
          (text, { name, value }) => text.replace(new RegExp(`(?<!const |^import .*)\\b${name}\\b`, "gm"), `(${value})`), source);
        const contents = own.reduce((text, { exported, name }) => exported ? text : text.replace(new RegExp(`^const ${name} = .*$`, "m"), ""), filled);
        return { contents, loader: "ts" };
      });
    },
  };
  const scripts = [
    ["tidegate.js", "entry-default.ts"],
    ["tidegate-node.js", "entry-node.ts"],
    ["tidegate-edge.js", "entry-edge.ts", [asModule("")]],
    ["tidegate-edge-light.js", "entry-edge.ts", [asModule("?module")]],
    ["openfeature-web.js", "openfeature/web.ts"],
    ["openfeature-server.js", "openfeature/server.ts"],
    ["react.js", "react.ts"],
  ].filter(([, source]) => existsSync(join(HERE, "js/src", source)));
  for (const [name, source, plugins] of scripts) {
    const mangleProps = name.startsWith("tidegate") ? new RegExp(`^(${OURS.join("|")})$`) : undefined;
    const entryPoints = [join(HERE, "js/src", source)];
    const outfile = join(dist, name);
    await build({ ...common, mangleProps, entryPoints, outfile, plugins: [...(plugins ?? []), constants] });
    if (mangleProps === undefined) continue;
    // Once more: what was files is one script by now, in which shorter names do; rare bytes pack badly.
    const { code } = await transform(readFileSync(outfile, "utf8"), { minify: true, format: "esm", target: "es2022", charset: "ascii" });
    writeFileSync(outfile, code);
  }
  const typed = ["public.ts", "node.ts", "openfeature/web.ts", "openfeature/server.ts", "react.ts"];
  run(tool("tsc"), ["--declaration", "--emitDeclarationOnly", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext",
    "--moduleResolution", "bundler", "--allowImportingTsExtensions", "--lib", "es2024,dom", "--types", "node",
    "--typeRoots", join(HERE, "node_modules/@types"), "--jsx", "react-jsx",
    "--rootDir", join(HERE, "js/src"), "--outDir", dist,
    ...typed.map((source) => join(HERE, "js/src", source)).filter((path) => existsSync(path))]);
  // Under a name that lasts, for those who bundle or compile it themselves.
  copyFileSync(join(dist, wasm), join(dist, "tidegate.wasm"));
  return scripts.map(([name]) => name);
}

/** What was built, for the server that takes the files in, which are for browsers too, and for whoever looks. */
function writeManifest() {
  const media = (name) => name.endsWith(".wasm") ? "application/wasm" : "text/javascript; charset=utf-8";
  const described = (name) => {
    const bytes = readFileSync(join(dist, name));
    const sha384 = `sha384-${createHash("sha384").update(bytes).digest("base64")}`;
    return { name, media: media(name), bytes: bytes.length, gzip_bytes: gzipSync(bytes, { level: 9 }).length, sha384 };
  };
  const { version } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
  const manifest = { version, rustc: toolchain.rustc, files: files.map(described), only_packed: quick === undefined ? [] : [described(quick)] };
  writeFileSync(join(dist, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const { name, bytes, gzip_bytes: gzip } of [...manifest.files, ...manifest.only_packed]) {
    console.log(`${name.padEnd(32)} ${String(bytes).padStart(8)} bytes ${String(gzip).padStart(8)} gzipped`);
  }
}

function tool(name) {
  const path = join(HERE, "node_modules/.bin", name);
  return existsSync(path) ? path : missing(`${name}: run \`npm ci\` in sdk-wasm/`);
}

function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: REPOSITORY, env, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) fail(`${basename(command)} ${args[0]} failed${error ? `: ${error.message}` : ""}`);
}

/** What a command says, or nothing. */
function said(command, args) {
  const { stdout } = spawnSync(command, args, { cwd: REPOSITORY, encoding: "utf8" });
  return (stdout ?? "").trim();
}

function fail(problem, status = 1) {
  console.error(problem);
  process.exit(status);
}

/** Something that is not here has to be brought, which is not the sources' fault. */
function missing(problem) {
  return fail(`MISSING: ${problem}`, MISSING);
}
