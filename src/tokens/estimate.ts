/**
 * Bytes of `text` in UTF-8. Unpaired surrogates count as the three bytes of U+FFFD, as encoders write them.
 */
export const utf8Length: (text: string) => number =
  // The native count is many times faster; runtimes without `Buffer` get the loop.
  typeof Buffer === "function" ? (text) => Buffer.byteLength(text, "utf8") : countUtf8Bytes;

/** {@link utf8Length} in plain JavaScript. */
export function countUtf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (unit >= 0xd800 && unit <= 0xdbff && isLowSurrogate(text.charCodeAt(i + 1))) {
      // Two units that are four bytes.
      bytes += 2;
      i++;
    } else bytes += 2;
  }
  return bytes;
}

// `charCodeAt` past the end is NaN, for which both comparisons are false.
const isLowSurrogate = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;

/**
 * Tokens of a text where no tokenizer is at hand: bytes / 4, rounded up (routing: terms).
 *
 * @param bytes - UTF-8 bytes of the text.
 */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 4);
}
