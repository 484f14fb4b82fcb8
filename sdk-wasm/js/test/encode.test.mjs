/** Contexts as bytes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { inside } from "../testing/built.mjs";

const { ContextRefused, Encoder } = inside;

function encoded(values, room = 65_536) {
  const memory = new ArrayBuffer(room + 16);
  const length = new Encoder().write({ buffer: memory }, 8, room, values);
  assert.deepEqual([...new Uint8Array(memory, 0, 8)], new Array(8).fill(0), "nothing before the inbox is written");
  return Buffer.from(memory.slice(8, 8 + length)).toString("hex");
}

test("each value has its tag, its length and its bytes", () => {
  assert.equal(encoded([]), "");
  assert.equal(encoded([null, false, true, undefined, () => 1]), "0001020800");
  assert.equal(encoded([-0]), "030000000000000000");
  assert.equal(encoded([1.5, Number.NaN]), "03000000000000f83f00");
  assert.equal(encoded(["hi"]), "07026869");
  assert.equal(encoded(["é"]), "0402000000c3a9");
  assert.equal(encoded(["aé"]), "040300000061c3a9");
  assert.equal(encoded([[true, [null, undefined, "hi"]]]), "05020000000205030000000000" + "04020000006869");
  assert.equal(encoded([{ é: 1n, gone: undefined }]), "06010000000200c3a903000000000000f03f");
});

test("short and long texts, with and without ASCII, come out as UTF-8", () => {
  for (const text of ["", "x".repeat(48)]) {
    assert.equal(encoded([text]), `07${text.length.toString(16).padStart(2, "0")}${Buffer.from(text).toString("hex")}`);
  }
  for (const text of ["x".repeat(49), `${"x".repeat(47)}é`, "é".repeat(300), "🌊".repeat(20), "a\ud800b"]) {
    const bytes = Buffer.from(text.replace(/\ud800/, "\ufffd"), "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    assert.equal(encoded([text]), `04${length.toString("hex")}${bytes.toString("hex")}`);
  }
});

test("what does not fit is refused, and writes nothing past the end", () => {
  for (const value of ["x".repeat(100), "é".repeat(40), [1, 2, 3, 4, 5, 6, 7, 8], { ["n".repeat(80)]: 1 }, new Array(70).fill(null)]) {
    for (let room = 8; room < 64; room++) {
      const memory = new ArrayBuffer(256);
      const encoder = new Encoder();
      assert.throws(() => encoder.write({ buffer: memory }, 0, room, [value]), ContextRefused);
      assert.ok(new Uint8Array(memory, room).every((byte) => byte === 0), `room ${room}`);
    }
  }
});

test("memory that grew is written to where it is now", () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const encoder = new Encoder();
  encoder.write(memory, 0, 100, [true]);
  memory.grow(1);
  encoder.write(memory, 0, 100, [false]);
  assert.equal(new Uint8Array(memory.buffer)[0], 1);
});

test("memory that grows while a value says what it is has none of it, and the check is refused", () => {
  for (const said of [true, null, "text", { a: 1 }]) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const growing = { toJSON: () => (memory.grow(1), said) };
    assert.throws(() => new Encoder().write(memory, 0, 100, [1, growing]), Error, String(said));
  }
});

test("what is nested is written as it is sent as JSON: moments, and what objects say of themselves", () => {
  class Money {
    constructor(cents) {
      this.cents = cents;
    }
    toJSON() {
      return { ...this, currency: "EUR" };
    }
  }
  const itself = { toJSON() { return this; }, a: 1 };
  const at = new Date(5);
  for (const [value, plain] of [
    [[at, { at }], ["1970-01-01T00:00:00.005Z", { at: "1970-01-01T00:00:00.005Z" }]],
    [[new Date(NaN)], [null]],
    [new Money(5), { cents: 5, currency: "EUR" }],
    [{ prices: [new Money(5)] }, { prices: [{ cents: 5, currency: "EUR" }] }],
    [new URL("https://a.example/b"), "https://a.example/b"],
  ]) {
    // Texts at the top are written shorter.
    assert.equal(encoded([[value]]), encoded([[plain]]));
    assert.deepEqual(JSON.parse(JSON.stringify(value)), plain);
  }
  assert.equal(encoded([itself]), encoded([{ toJSON: null, a: 1 }]), "it is asked once");
});
