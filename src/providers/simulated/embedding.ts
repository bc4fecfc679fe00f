import { seededRandom } from "../../internal/random.js";

/**
 * A unit vector that depends on nothing but the text: the sum of one pseudo-random direction per word, so that texts
 * with words in common are near each other. Fewer dimensions are the beginning of more, scaled to length 1 again.
 */
export function vectorOf(text: string, dimensions: number): number[] {
  const vector = new Array<number>(dimensions).fill(0);
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text];
  for (const word of words) {
    const random = seededRandom(fnv1a(word));
    for (let i = 0; i < dimensions; i++) vector[i] = (vector[i] ?? 0) + random.next() * 2 - 1;
  }
  const length = Math.hypot(...vector);
  return length === 0 ? vector.fill(1 / Math.sqrt(dimensions)) : vector.map((value) => value / length);
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Little-endian 32-bit floats, as OpenAI's `encoding_format: "base64"`. */
export function encodeBase64(vector: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [i, value] of vector.entries()) view.setFloat32(4 * i, value, true);
  let binary = "";
  for (let i = 0; i < view.byteLength; i++) binary += String.fromCharCode(view.getUint8(i));
  return btoa(binary);
}
