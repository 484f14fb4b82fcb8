/** What the tests of both providers share. */
import { pathToFileURL } from "node:url";

import { bundle } from "./built.mjs";

const file = await bundle("testing/openfeature.ts", { platform: "node" });

/** The providers and their SDKs. */
export const openfeature = await import(pathToFileURL(file).href);

/** All events of a client of an SDK, in order, with the next of a kind to wait for. */
export class Heard {
  events = [];
  waiting = [];

  constructor(client, kinds) {
    for (const kind of kinds) {
      client.addHandler(kind, (details) => {
        this.events.push({ kind, ...details });
        this.waiting.splice(0).forEach((wake) => wake());
      });
    }
  }

  /** The names of all that was heard. */
  get kinds() {
    return this.events.map(({ kind }) => kind);
  }

  /** How often one was heard. */
  count(kind) {
    return this.kinds.filter((one) => one === kind).length;
  }

  /** Done when one was heard so often; hands it back. */
  async of(kind, times = 1) {
    while (this.count(kind) < times) await new Promise((resolve) => this.waiting.push(resolve));
    return this.events.filter((one) => one.kind === kind)[times - 1];
  }
}

let domains = 0;

/** A domain that no other test has. */
export function domain() {
  return `domain-${++domains}`;
}

/** Says nothing of what goes wrong on purpose. */
export const SILENT = { error() {}, warn() {}, info() {}, debug() {} };
