/**
 * A folder as the place where the last good state is kept: a file for each name, written whole beside its place and then moved
 * there, so that nobody ever reads half of one.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { KeptState } from "./types.js";

/** Most files: those that were written last. */
const MOST_FILES = 32;
/** Larger files are none of this package: a state has a million characters at most. */
const MOST_BYTES = 8 * 1024 * 1024;
const SUFFIX = ".tidegate.json";
/** What a process wrote that ended in the middle is thrown away after this. */
const LEFT_BEHIND_MS = 60_000;

/** A text that is to be kept; none: nothing is to be there. */
interface Waiting {
  text: string | undefined;
  done: Promise<void>;
}

/**
 * Keeps states in files of this folder, which is made if it is not there. What cannot be read is as good as nothing. The
 * files hold the rules: only the process's own user may read them.
 */
export function keptIn(folder: string): KeptState {
  const fileOf = (name: string) => join(folder, `${encodeURIComponent(name)}${SUFFIX}`);
  // One after another: what is said last is what is kept.
  let last: Promise<unknown> = Promise.resolve();
  const inOrder = <T>(run: () => Promise<T>): Promise<T> => {
    const done = last.then(run);
    last = done.catch(() => {});
    return done;
  };
  /** By name; what is said later takes the place of what still waits. */
  const waiting = new Map<string, Waiting>();
  const put = (name: string, text?: string): Promise<void> => {
    const before = waiting.get(name);
    if (before !== undefined) {
      before.text = text;
      return before.done;
    }
    const one: Waiting = { text, done: Promise.resolve() };
    waiting.set(name, one);
    one.done = inOrder(() => {
      waiting.delete(name);
      return one.text === undefined ? rm(fileOf(name), { force: true }) : write(folder, fileOf(name), one.text);
    });
    return one.done;
  };
  return {
    get: (name) => inOrder(() => readWhole(fileOf(name)).catch(() => null)),
    remove: (name) => put(name),
    set: put,
  };
}

async function write(folder: string, file: string, text: string): Promise<void> {
  // In quotes: the build gives members of ours other names, and these are Node's.
  await mkdir(folder, { recursive: true, "mode": 0o700 });
  const beside = `${file}.${randomUUID()}.new`;
  try {
    await writeFile(beside, text, { "mode": 0o600, "flush": true });
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  await tidy(folder);
}

async function readWhole(file: string): Promise<string | null> {
  const { size } = await stat(file);
  return size <= MOST_BYTES ? await readFile(file, "utf8") : null;
}

/** Throws away what is too much, and what others left half written. Nothing of that is worth a failure. */
async function tidy(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const ours = names.filter((name) => name.endsWith(SUFFIX));
  const halves = names.filter((name) => name.endsWith(".new") && name.includes(SUFFIX));
  if (ours.length <= MOST_FILES && halves.length === 0) return;
  const dated = async (name: string) => ({ file: join(folder, name), at: (await stat(join(folder, name)).catch(() => undefined))?.mtimeMs ?? 0 });
  const files = (await Promise.all(ours.map(dated))).sort((a, b) => b.at - a.at).slice(MOST_FILES);
  const left = (await Promise.all(halves.map(dated))).filter(({ at }) => Date.now() - at > LEFT_BEHIND_MS);
  for (const { file } of [...files, ...left]) await rm(file, { force: true }).catch(() => {});
}
