import type { Secret } from "../../internal/secret.js";

const encoder = new TextEncoder();

/** Signs deliveries as the Standard Webhooks specification says. @see https://www.standardwebhooks.com */
export class WebhookSigner {
  readonly #key: Promise<CryptoKey>;

  /** @param secret - `whsec_` and base64, or any text. */
  constructor(secret: Secret) {
    this.#key = importKey(secret.reveal());
    // Whoever signs meets the error.
    this.#key.catch(() => {});
  }

  /** @returns the value of the header `webhook-signature`. */
  async sign(id: string, timestampS: number, body: string): Promise<string> {
    const { subtle } = globalThis.crypto;
    const signature = await subtle.sign("HMAC", await this.#key, encoder.encode(`${id}.${timestampS}.${body}`));
    return `v1,${btoa(String.fromCharCode(...new Uint8Array(signature)))}`;
  }
}

async function importKey(text: string): Promise<CryptoKey> {
  return globalThis.crypto.subtle.importKey("raw", keyBytes(text), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

const PREFIX = "whsec_";

function keyBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!text.startsWith(PREFIX)) return encoder.encode(text);
  return Uint8Array.from(atob(text.slice(PREFIX.length)), (character) => character.charCodeAt(0));
}

/** What is wrong with a secret; never quotes it. */
export function secretProblem(text: string): string | undefined {
  try {
    return keyBytes(text).length >= 16 ? undefined : "expected a secret of at least 16 bytes";
  } catch {
    return "expected base64 after `whsec_`";
  }
}
