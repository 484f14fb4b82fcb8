/**
 * Answers flags by the core in WebAssembly, for whoever compares: `node answers.mjs CORE.js MODULE.wasm`.
 *
 * A line of JSON is asked, a line is answered. `{"contexts":[base64]}`: those that are picked from then on; answered with
 * the code of each. `{"frames":[JSON],"cached":?,"picks":[[context, now]]}`: a new client takes the frames as a stream,
 * and each pick is answered with the numbers of all its flags, by key; fffffffd where the whole context and what the flag
 * needs of it are answered differently. `{"details":[[key, context, now]]}`: the last client's answers in words.
 * `{"kept":true}`: its state as a text.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [core, module] = process.argv.slice(2);
const { Core, initSync } = await import(core);
const { memory } = initSync({ module: readFileSync(module) });

const encoder = new TextEncoder();
/** No answer of the module. */
const DIFFERS = 0xffff_fffd;
let contexts = [];
let values = [];
let client;
let ids;

function put(context) {
  new Uint8Array(memory.buffer).set(contexts[context], client.inbox());
  return client.context(contexts[context].length);
}

/** The values of a context by name, as bytes. */
function cut(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 2;
  const named = () => {
    const from = at + 2;
    at = from + view.getUint16(at, true);
    return bytes.toString("utf8", from, at);
  };
  const skip = () => {
    const tag = bytes[at++];
    if (tag === 3) at += 8;
    if (tag < 4) return;
    const count = view.getUint32(at, true);
    at += 4;
    if (tag === 4) at += count;
    else for (let i = 0; i < count; i += 1) (tag === 6 && named(), skip());
  };
  const values = new Map();
  for (let i = view.getUint16(0, true); i > 0; i -= 1) {
    const name = named();
    const from = at;
    skip();
    values.set(name, bytes.subarray(from, at));
  }
  return values;
}

/** As checks of the SDK ask: with what the flag needs, and nothing else. */
function checkFor({ id, needs }, values, now) {
  const inbox = new Uint8Array(memory.buffer, client.inbox(), 65_536);
  let at = 0;
  for (const name of needs) {
    const value = values.get(name);
    const isShort = value?.[0] === 4 && value.length < 5 + 49 && value.subarray(5).every((byte) => byte < 0x80);
    const bytes = value === undefined ? [8] : isShort ? [7, value.length - 5, ...value.subarray(5)] : value;
    inbox.set(bytes, at);
    at += bytes.length;
  }
  return client.check_for(id, at, now);
}

function open(frames, cached) {
  client?.free();
  client = new Core(cached ?? null, 45_000, 0);
  client.tick(0, 0.5);
  client.connected(1, 0.5);
  let bytes = "";
  for (const frame of frames) {
    const [kind] = Object.keys(JSON.parse(frame).body);
    bytes += `event: ${kind}\ndata: ${frame}\n\n`;
  }
  // In two pieces, as a network would have it.
  const whole = encoder.encode(bytes);
  const middle = whole.length >> 1;
  const said = [whole.subarray(0, middle), whole.subarray(middle)].map((piece) => client.bytes(piece, 2, 0.5));
  ids = JSON.parse(client.flags(0)).filter((flag) => !flag.gone).sort((a, b) => (a.key < b.key ? -1 : 1));
  return said;
}

const requests = {
  contexts({ contexts: all }) {
    contexts = all.map((text) => Buffer.from(text, "base64"));
    values = [];
    client = new Core(null, 45_000, 0);
    return contexts.map((_, at) => put(at));
  },
  frames({ frames, cached, picks }) {
    open(frames, cached);
    const answers = [];
    let before = new Map();
    for (const [context, now] of picks) {
      put(context);
      const whole = ids.map(({ id }) => client.check(id, now));
      values[context] ??= cut(contexts[context]);
      // Who asked before leaves a context behind, in whose room this one's may be written.
      const needed = ids.map((flag) => (checkFor(flag, before, now), checkFor(flag, values[context], now)));
      before = values[context];
      // Answers that hang on how they are asked are no answers.
      answers.push(...whole.map((answer, at) => (needed[at] === answer ? answer : DIFFERS)));
    }
    return answers;
  },
  details({ details }) {
    return details.map(([key, context, now]) => {
      put(context);
      const flag = ids.find((flag) => flag.key === key);
      return flag === undefined ? null : JSON.parse(client.detail(flag.id, now) || "null");
    });
  },
  kept: () => client.export_state(),
  /** What the memory grows to while a flag changes again and again. */
  changes({ changes, frame }) {
    const sizes = [];
    for (let at = 0; at < changes; at += 1) {
      const change = frame.replaceAll("4711", String(4711 + at));
      client.bytes(encoder.encode(`event: change\ndata: ${change}\n\n`), 3 + at, 0.5);
      if (at % 1_000 === 999) sizes.push(memory.buffer.byteLength);
    }
    return { version: client.version(), sizes };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const [answer] = Object.keys(requests).filter((name) => name in request).map((name) => requests[name](request));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
