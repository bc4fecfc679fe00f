import { createHash, timingSafeEqual } from "node:crypto";

/** SHA-256 of a text, as 64 hexadecimal digits: what is kept of a secret (S6). */
export function sha256Hex(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Compares two digests of {@link sha256Hex} in a time that says nothing about where they differ (S15). */
export function equalDigests(left: string, right: string): boolean {
  // Every digest has the same length, so that unequal lengths tell nothing of a secret.
  return left.length === right.length && timingSafeEqual(Buffer.from(left, "latin1"), Buffer.from(right, "latin1"));
}
