/**
 * The context that a page is open for: as it is sent, as it is named in storage, and whether a check asks for it. Apps may
 * change their objects afterwards, so it is a copy.
 */
import type { Context } from "./types.js";

export class PageContext {
  /** As JSON, with the names in order: the same context is the same text. */
  readonly text: string;
  readonly #names: string[] = [];
  readonly #values: unknown[] = [];
  readonly #texts: string[] = [];

  /** Throws for what is no context: one that goes in circles, or a targeting key that is no text. */
  constructor(context: Context | undefined) {
    const copy: Record<string, unknown> = {};
    for (const name of Object.keys(context ?? {}).sort()) {
      const value = (context as Record<string, unknown>)[name];
      if (value === undefined || value === null) continue;
      if (name === "targetingKey" && typeof value !== "string") throw new Error("the targeting key has to be a text");
      const text = jsonOf(value);
      if (text === undefined) continue;
      copy[name] = JSON.parse(text);
      this.#names.push(name);
      this.#values.push(value);
      this.#texts.push(text);
    }
    // Half a letter is written as its number, which servers refuse: it is none, as the module reads it.
    this.text = JSON.stringify(copy).replace(/\\(\\|ud[89a-f]..)/g, (found) => (found[2] ? "\ufffd" : found));
  }

  /** As an object of its own. */
  copy(): Context {
    return JSON.parse(this.text);
  }

  /** Whether this says the same. */
  is(context: Context): boolean {
    let known = 0;
    const names = this.#names;
    const values = this.#values;
    const texts = this.#texts;
    for (let i = 0; i < names.length; i++) {
      const value = (context as Record<string, unknown>)[names[i] as string];
      // Objects may have been changed since, and some numbers do not equal themselves.
      const isSame = typeof value !== "object" && value === values[i];
      if (!isSame && (typeof value === "string" || jsonOf(value) !== texts[i])) return false;
    }
    for (const name of Object.keys(context)) {
      const value = context[name];
      if (value !== undefined && value !== null && typeof value !== "function" && typeof value !== "symbol") known++;
    }
    return known === names.length;
  }
}

function jsonOf(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? Number(inner) : inner));
}
