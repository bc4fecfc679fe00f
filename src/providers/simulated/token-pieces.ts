/**
 * Cuts a text into the tokens of a simulated model: pieces of at least four bytes in UTF-8, without splitting a
 * character. For ASCII that is bytes / 4, rounded up.
 */
export function tokenPieces(text: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i) as number; // `i` is within the text
    bytes += codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
    i += codePoint < 0x10000 ? 1 : 2;
    if (bytes >= 4) {
      pieces.push(text.slice(start, i));
      start = i;
      bytes = 0;
    }
  }
  if (start < text.length) pieces.push(text.slice(start));
  return pieces;
}

/** Exactly `count` tokens: the text cut, or repeated with a space between. */
export function tokenPiecesOfLength(text: string, count: number): string[] {
  const once = tokenPieces(text);
  if (once.length >= count) return once.slice(0, count);
  const repeated = tokenPieces(`${text} `);
  return Array.from({ length: count }, (_, i) => repeated[i % repeated.length] ?? " ");
}
