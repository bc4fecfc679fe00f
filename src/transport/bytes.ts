// One decoder of each kind serves all: neither is ever used with `stream: true`, which keeps state and costs ten times
// as much.
const whole = new TextDecoder();
const piece = new TextDecoder("utf-8", { ignoreBOM: true });

/** A whole text: malformed bytes become U+FFFD, a byte order mark is dropped. */
export function decodeText(bytes: Uint8Array): string {
  return whole.decode(bytes);
}

/** A piece of a text that was cut between characters: malformed bytes become U+FFFD, nothing is dropped. */
export function decodePiece(bytes: Uint8Array): string {
  return piece.decode(bytes);
}

/**
 * Bytes that hold anything until they are written: to clear them first takes as long as to write them. What is never
 * written must never be handed on.
 */
export const unclearedBytes: (size: number) => Uint8Array =
  typeof Buffer === "function" ? (size) => Buffer.allocUnsafe(size) : (size) => new Uint8Array(size);

/**
 * One piece of all chunks; a single one is not copied.
 *
 * @param size - Their length together.
 */
export function joinBytes(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = chunks;
  if (first && chunks.length === 1) return first;
  const bytes = unclearedBytes(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
