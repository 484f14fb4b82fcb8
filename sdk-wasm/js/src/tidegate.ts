/** How a client comes to be, on whatever platform. */
import type { Around } from "./around.js";
import type { Mode } from "./client.js";
import { TidegateClient, WAIT_MS } from "./client.js";
import { baseOf } from "./link.js";
import type { Source } from "./load.js";
import { moduleOf } from "./load.js";
import type { Client, Options } from "./types.js";

/** What a platform brings along. */
export interface Platform {
  mode: Mode;
  around: Around;
  /** Where the module's code is, if the app does not say. */
  wasm(): Source | Promise<Source>;
  integrity?: string | undefined;
}

/** Rejects for options that can never work, as does `start`. */
export function check(options: Options): string {
  const base = baseOf(options?.url);
  if (!/^[!-~]+$/.test(options.key ?? "")) throw new Error("`key` has to be a token");
  return base;
}

/** Makes a client; done when the server was heard, or after `waitMs` with whatever there is. */
export async function start(options: Options, base: string, platform: Platform): Promise<Client> {
  const { mode, around, wasm, integrity } = platform;
  const given = options.wasm;
  const load = () => moduleOf(() => given ?? wasm(), given ? undefined : integrity);
  const client = new TidegateClient(base, options, around, mode, load);
  await client.ready(options.waitMs ?? WAIT_MS);
  return client;
}
