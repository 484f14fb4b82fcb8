/** Before the package is packed: nothing is packed that was not built, or is not what was built. */
import { createHash } from "node:crypto";
import { copyFileSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

try {
  const { version, files, only_packed: others } = JSON.parse(readFileSync(at("dist/manifest.json"), "utf8"));
  const wanted = JSON.parse(readFileSync(at("package.json"), "utf8")).version;
  if (version !== wanted) throw new Error(`what was built is ${version}, and this is ${wanted}`);
  for (const { name, sha384 } of [...files, ...others]) {
    const found = `sha384-${createHash("sha384").update(readFileSync(at(`dist/${name}`))).digest("base64")}`;
    if (found !== sha384) throw new Error(`${name} is not what was built`);
  }
} catch (error) {
  console.error(`There is nothing whole to pack in dist/: ${error.message}\nBuild it first: \`make wasm\` at the top of the repository.`);
  process.exit(1);
}
copyFileSync(at("../LICENSE"), at("LICENSE"));
