import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { UpstreamError, unreachable } from "../../errors/upstream-error.js";
import { systemClock } from "../../internal/clock.js";
import { Secret } from "../../internal/secret.js";
import type { EncodedRequest } from "../provider.js";
import { loadSigner } from "./aws.js";
import type { AwsCredentialProvider, AwsCredentials, FixedKeys } from "./options.js";

/** Not the host's name: the runtime signs under the same one as the control plane. */
const SERVICE = "bedrock";
/** Carries the time from the encoder, which has the clock, to the signature. */
export const DATE_HEADER = "x-amz-date";
/** Keys are replaced while they are still good: AWS refuses what expires on its way. */
const RENEW_BEFORE_MS = 5 * 60_000;

/** Keys, held so that nobody prints them. */
type HeldKeys = FixedKeys & { readonly expiresAtMs: number | undefined };

/** `YYYYMMDDTHHMMSSZ`. */
export function amzDate(wallNowMs: number): string {
  return `${new Date(wallNowMs).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
}

/** Signs the requests of one deployment (Signature Version 4). */
export class RequestSigner {
  readonly #keys: FixedKeys | AwsCredentialProvider;
  readonly #region: string;
  #cached: HeldKeys | undefined;
  /** One look-up at a time: attempts that need keys meanwhile wait for the same one. */
  #pending: Promise<HeldKeys> | undefined;

  constructor(keys: FixedKeys | AwsCredentialProvider, region: string) {
    this.#keys = keys;
    this.#region = region;
  }

  /**
   * The request with its signature. Signed are host, date, session token, content type and body: other headers may still
   * change.
   *
   * @param request - With {@link DATE_HEADER} where an attempt made it.
   * @throws {UpstreamError} class `network`: no keys are to be had; class `authentication`: what is there are no keys.
   */
  async sign(request: EncodedRequest, origin: string): Promise<EncodedRequest> {
    const { method, path, headers, body } = request;
    // Model lists are asked for outside of attempts: their requests are made once, without a time.
    const date = headers[DATE_HEADER] ?? amzDate(systemClock.wallNow());
    const signingDate = dateOf(date);
    const [SignatureV4, keys] = await Promise.all([loadSigner(), this.#keysAt(signingDate.getTime())]);
    const signer = new SignatureV4({
      service: SERVICE,
      region: this.#region,
      sha256: Sha256,
      // The body's hash is part of the signature; a header of its own is wanted by S3 only.
      applyChecksum: false,
      credentials: {
        accessKeyId: keys.accessKeyId,
        secretAccessKey: keys.secretAccessKey.reveal(),
        ...(keys.sessionToken ? { sessionToken: keys.sessionToken.reveal() } : {}),
      },
    });
    const url = new URL(path, origin);
    const contentType = headers["content-type"];
    const signed = await signer.sign(
      {
        method,
        protocol: url.protocol,
        hostname: url.hostname,
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: { host: url.host, ...(contentType === undefined ? {} : { "content-type": contentType }) },
        body,
      },
      { signingDate },
    );
    // The transport sets `host` by itself, to the same value.
    const { host: _host, ...added } = signed.headers;
    return { ...request, headers: { ...headers, ...added } };
  }

  async #keysAt(nowMs: number): Promise<HeldKeys> {
    const keys = this.#keys;
    if (typeof keys !== "function") return { ...keys, expiresAtMs: undefined };
    const { expiresAtMs } = this.#cached ?? {};
    if (this.#cached && expiresAtMs !== undefined && nowMs < expiresAtMs - RENEW_BEFORE_MS) return this.#cached;
    this.#pending ??= askForKeys(keys).finally(() => {
      this.#pending = undefined;
    });
    this.#cached = await this.#pending;
    return this.#cached;
  }
}

async function askForKeys(provider: AwsCredentialProvider): Promise<HeldKeys> {
  let keys: AwsCredentials;
  try {
    keys = await provider();
  } catch {
    // What it threw may hold the credential, so nothing of it is kept (S18).
    throw unreachable("the deployment's `credentials` function failed");
  }
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = keys ?? {};
  if (
    !isKeyText(accessKeyId) ||
    !isKeyText(secretAccessKey) ||
    (sessionToken !== undefined && !isKeyText(sessionToken))
  ) {
    throw new UpstreamError("the deployment's `credentials` function returned no keys", {
      errorClass: "authentication",
    });
  }
  const expiresAtMs = expiration instanceof Date ? expiration.getTime() : Number.NaN;
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    sessionToken: sessionToken === undefined ? undefined : new Secret(sessionToken),
    expiresAtMs: Number.isFinite(expiresAtMs) ? expiresAtMs : undefined,
  };
}

/** Nothing but visible ASCII may stand in a header (S42). */
function isKeyText(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]{4,16384}$/.test(value);
}

function dateOf(amz: string): Date {
  return new Date(amz.replace(/^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/, "$1-$2-$3T$4:$5:$6Z"));
}

/** SHA-256, and HMAC where there is a secret, as the signer wants them. */
class Sha256 {
  readonly #secret: string | Uint8Array | undefined;
  #hash: Hash | Hmac;

  constructor(secret?: SourceData) {
    this.#secret = secret === undefined ? undefined : bytesOf(secret);
    this.#hash = this.#begin();
  }

  update(data: SourceData): void {
    this.#hash.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = this.#begin();
  }

  #begin(): Hash | Hmac {
    return this.#secret === undefined ? createHash("sha256") : createHmac("sha256", this.#secret);
  }
}

type SourceData = string | ArrayBuffer | ArrayBufferView;

function bytesOf(data: SourceData): string | Uint8Array {
  if (typeof data === "string") return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(data);
}
