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
  // Signed, which V8 keeps as a small integer: a draw allocates nothing.
  let state = seed | 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CODES = Array.from(ALPHABET, (letter) => letter.charCodeAt(0));
/** 62 ^ 4: what one draw, of at least 32 good bits, yields evenly enough. */
const FOUR_DIGITS = 14_776_336;

/** `prefix` followed by 24 characters of base 62: about 142 bits, unique but not secret. */
export function randomId(random: Random, prefix: string): string {
  return (
    prefix +
    fourDigits(random) +
    fourDigits(random) +
    fourDigits(random) +
    fourDigits(random) +
    fourDigits(random) +
    fourDigits(random)
  );
}

/** One string of four characters, rather than four that are joined: ids are made for each request. */
function fourDigits(random: Random): string {
  const bits = Math.floor(random.next() * FOUR_DIGITS);
  // Each remainder is a position of the alphabet.
  return String.fromCharCode(
    CODES[bits % 62] as number,
    CODES[Math.floor(bits / 62) % 62] as number,
    CODES[Math.floor(bits / 3_844) % 62] as number,
    CODES[Math.floor(bits / 238_328)] as number,
  );
}

/** Unguessable: `byteCount` bytes of the platform's cryptographic source, in base64url. Not to be replaced by a seed. */
export function secretText(byteCount: number): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(byteCount));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
