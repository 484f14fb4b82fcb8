/** Names and checksums, without the platform's own, which only answer later. */

/** 64 bits of a text as hex: two FNV-1a sums with different beginnings, mixed at the end. No secret is safe behind it. */
export function digest(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + i), 0x5bd1e995);
  }
  return mixed(a ^ (b >>> 7)) + mixed(b ^ (a >>> 9));
}

/** 32 bits by chance as hex. */
export function drawn(random: () => number): string {
  return mixed(random() * 2 ** 32);
}

function mixed(sum: number): string {
  let bits = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0).toString(16).padStart(8, "0");
}
