const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Tool-call ids are nine letters and digits; others become some by a hash, the same for call and result. */
export function nineCharacters(id: string): string {
  if (/^[A-Za-z0-9]{9}$/.test(id)) return id;
  // FNV-1a in two lanes: 9 characters of base 62 hold 53 bits, which conversations do not collide in.
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (let index = 0; index < id.length; index++) {
    low = Math.imul(low ^ id.charCodeAt(index), 0x01000193) >>> 0;
    high = Math.imul(high ^ id.charCodeAt(index) ^ (low >>> 13), 0x01000193) >>> 0;
  }
  let rest = (high >>> 11) * 4_294_967_296 + low;
  let short = "";
  for (let character = 0; character < 9; character++) {
    short += ALPHABET[rest % 62];
    rest = Math.floor(rest / 62);
  }
  return short;
}
