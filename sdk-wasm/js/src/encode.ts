/**
 * What a flag needs of a context as bytes for the module: values in the order of its needs, a tag before each (0 null, 1 false,
 * 2 true, 3 number, 4 text, 5 list, 6 object, 7 short text of ASCII, 8 not there), lengths before texts and names, counts before
 * lists and objects, all little-endian. Written straight into the module's memory, since checks do it often.
 */

/** As deep as the core reads. */
export const MAX_DEPTH = 8;
/** A text up to this long is copied letter by letter. */
const SHORT = 48;
export const utf8 = new TextEncoder();

/** The context has no form that the core takes: too deep, or too large. */
export class ContextRefused extends Error {}

/** Where contexts are written: a module's memory. */
export interface Memory {
  readonly buffer: ArrayBuffer;
}

/** Writes one context after another. */
export class Encoder {
  #memory: Memory | undefined;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;
  #at = 0;

  /** Writes these into `length` bytes of this memory, from `start`; how many bytes they take. */
  write(memory: Memory, start: number, length: number, values: readonly unknown[]): number {
    // Memory that grew is another buffer, and the old one has no bytes left.
    if (this.#memory !== memory || this.#bytes.length === 0) {
      this.#memory = memory;
      this.#bytes = new Uint8Array(memory.buffer);
      this.#view = new DataView(memory.buffer);
    }
    this.#at = start;
    this.#end = start + length;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (typeof value !== "string") this.#value(value, 1);
      else if (value.length > SHORT || !this.#short(value)) this.#text(value);
    }
    return this.#at - start;
  }

  /** Writes a short text letter by letter, which is quicker than the encoder; unless it is not ASCII. */
  #short(text: string): boolean {
    const { length } = text;
    this.#room(length + 2);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = 7;
    bytes[at++] = length;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at++] = code;
    }
    this.#at = at;
    return true;
  }

  #room(bytes: number): void {
    if (bytes > this.#end - this.#at) throw new ContextRefused();
  }

  #tag(tag: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = tag;
  }

  #tagged(tag: number, count: number): void {
    this.#room(5);
    this.#bytes[this.#at] = tag;
    this.#view.setUint32(this.#at + 1, count, true);
    this.#at += 5;
  }

  #value(value: unknown, depth: number): void {
    // What goes in circles ends here too.
    if (depth > MAX_DEPTH) throw new ContextRefused();
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return this.#tag(value ? 2 : 1);
      case "bigint":
        return this.#number(Number(value));
      case "object":
        return value === null ? this.#tag(0) : this.#nested(value, depth);
      default:
        // Functions and symbols are no JSON.
        return this.#tag(value === undefined && depth === 1 ? 8 : 0);
    }
  }

  #number(value: number): void {
    if (!Number.isFinite(value)) return this.#tag(0);
    this.#room(9);
    this.#bytes[this.#at] = 3;
    // There is one zero.
    this.#view.setFloat64(this.#at + 1, value + 0, true);
    this.#at += 9;
  }

  #text(text: string): void {
    const before = this.#at;
    this.#tagged(4, 0);
    this.#view.setUint32(before + 1, this.#utf8(text), true);
  }

  /** Writes a text as it is; halves of characters become U+FFFD. */
  #utf8(text: string): number {
    const { read, written } = utf8.encodeInto(text, this.#bytes.subarray(this.#at, this.#end));
    if (read < text.length) throw new ContextRefused();
    this.#at += written;
    return written;
  }

  #nested(given: object, depth: number): void {
    // As what is sent of a page's context: dates are moments, and objects say themselves what they are as JSON.
    const toJSON = "toJSON" in given && given.toJSON;
    const value: unknown = typeof toJSON === "function" ? toJSON.call(given, "") : given;
    if (typeof value !== "object" || value === null) return this.#value(value, depth);
    const start = this.#at;
    let count = 0;
    if (Array.isArray(value)) {
      this.#tagged(5, 0);
      for (; count < value.length; count++) this.#value(value[count], depth + 1);
    } else {
      this.#tagged(6, 0);
      for (const name of Object.keys(value)) {
        const field = (value as Record<string, unknown>)[name];
        if (field === undefined) continue;
        const length = this.#at;
        this.#room(2);
        this.#at += 2;
        // What does not fit into the length does not fit into a context.
        this.#view.setUint16(length, this.#utf8(name), true);
        this.#value(field, depth + 1);
        count++;
      }
    }
    this.#view.setUint32(start + 1, count, true);
  }
}
