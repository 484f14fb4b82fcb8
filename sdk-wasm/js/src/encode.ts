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
    const bytes = this.#bytes;
    const end = (this.#end = start + length);
    let at = start;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      // A short text is written letter by letter, which is quicker than the encoder; unless it turns out not to be ASCII.
      if (typeof value === "string" && value.length <= SHORT && end - at > value.length + 1) {
        const { length } = value;
        const first = at + 2;
        let all = 0;
        for (let i = 0; i < length; i++) {
          const code = value.charCodeAt(i);
          all |= code;
          bytes[first + i] = code;
        }
        if (all < 0x80) {
          bytes[at] = 7;
          bytes[at + 1] = length;
          at = first + length;
          continue;
        }
      }
      this.#at = at;
      this.#value(value, 1);
      at = this.#at;
    }
    // A `toJSON` may do anything. If the memory grew meanwhile, what was written since is nowhere.
    if (bytes.length === 0) throw new ContextRefused();
    return at - start;
  }

  /** Where so many bytes may be written. */
  #room(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw new ContextRefused();
    this.#at = at + bytes;
    return at;
  }

  /** Where so many bytes may be written, behind their tag. */
  #tag(tag: number, bytes = 0): number {
    const at = this.#room(bytes + 1);
    this.#bytes[at] = tag;
    return at + 1;
  }

  #value(value: unknown, depth: number): unknown {
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
    if (!Number.isFinite(value)) this.#tag(0);
    // There is one zero.
    else this.#view.setFloat64(this.#tag(3, 8), value + 0, true);
  }

  #text(text: string): void {
    this.#view.setUint32(this.#tag(4, 4), this.#utf8(text), true);
  }

  /** Writes a text as it is; halves of characters become U+FFFD. */
  #utf8(text: string): number {
    const { read, written } = utf8.encodeInto(text, this.#bytes.subarray(this.#at, this.#end));
    if (read < text.length) throw new ContextRefused();
    this.#at += written;
    return written;
  }

  #nested(given: object, depth: number): unknown {
    // As what is sent of a page's context: dates are moments, and objects say themselves what they are as JSON.
    const toJSON = "toJSON" in given && given.toJSON;
    const value: unknown = typeof toJSON === "function" ? toJSON.call(given, "") : given;
    if (typeof value !== "object" || value === null) return this.#value(value, depth);
    const isList = Array.isArray(value);
    const start = this.#tag(isList ? 5 : 6, 4);
    let count = 0;
    if (isList) {
      for (; count < value.length; count++) this.#value(value[count], depth + 1);
    } else {
      for (const name of Object.keys(value)) {
        const field = (value as Record<string, unknown>)[name];
        if (field === undefined) continue;
        const length = this.#room(2);
        // What does not fit into the length does not fit into a context.
        this.#view.setUint16(length, this.#utf8(name), true);
        this.#value(field, depth + 1);
        count++;
      }
    }
    this.#view.setUint32(start, count, true);
  }
}
