/** Chance, passed in. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
}

/** The machine's own source; not for secrets. */
export const systemRandom: Random = { next: () => Math.random() };

/**
 * A reproducible source: the same seed gives the same sequence.
 *
 * mulberry32: 32 bits of state, passes gjrand; enough for tie-breaking, jitter and tests.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** `prefix` followed by 24 characters of base 62: about 142 bits, unique but not secret. */
export function randomId(random: Random, prefix: string): string {
  let id = prefix;
  // Each draw has at least 32 good bits, which hold five base-62 digits.
  for (let draw = 0; draw < 5; draw++) {
    let bits = Math.floor(random.next() * 916_132_832);
    for (let digit = 0; digit < 5 && id.length < prefix.length + 24; digit++) {
      id += ALPHABET[bits % 62];
      bits = Math.floor(bits / 62);
    }
  }
  return id;
}
