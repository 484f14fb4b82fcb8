/** Clients of the tests, with what a test gives them around. */
import { inside, wasm } from "./built.mjs";

const { anywhere, check, modeOf, pageMode, start } = inside;

export const PAGE_KEY = "tg_sdk-browser_a_b";
export const SERVER_KEY = "tg_sdk-server_a_b";

/** A page's client. `around` adds to, or replaces, what Node has. */
export function page(server, options = {}, around = {}) {
  const all = { url: server.url, key: PAGE_KEY, wasm, waitMs: 5_000, ...options };
  return start(all, check(all), { mode: pageMode(), around: { ...anywhere(), ...around }, wasm: () => wasm });
}

/** A server's client. */
export function node(server, options = {}, around = {}) {
  const all = { url: server.url, key: SERVER_KEY, wasm, waitMs: 5_000, ...options };
  return start(all, check(all), { mode: modeOf(all), around: { ...anywhere(), ...around }, wasm: () => wasm });
}

/** Done at the next event for which this holds. */
export function next(client, event, holds = () => true) {
  return new Promise((resolve) => {
    const end = client.on(event, (said) => {
      if (!holds(said)) return;
      end();
      resolve(said);
    });
  });
}

/** Done when the status is of this kind, now or later. */
export async function standing(client, state) {
  if (client.status().state !== state) await next(client, "status", (status) => status.state === state);
  return client.status();
}

/** What a browser's storage keeps, in memory. */
export function memory(kept = new Map()) {
  return {
    kept,
    get: (name) => kept.get(name) ?? null,
    set: (name, text) => void kept.set(name, text),
    remove: (name) => void kept.delete(name),
  };
}
