import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ErrorClass } from "../../src/errors/upstream-error.js";
import { UpstreamError } from "../../src/errors/upstream-error.js";
import { seededRandom } from "../../src/internal/random.js";
import type { RequestBody } from "../../src/protocol/operations.js";
import type { AttemptContext, Provider, StreamDecoder, WireUpstream } from "../../src/providers/provider.js";
import { anAttempt, standingClock, WALL_NOW_MS } from "./attempt-context.js";

type Json = Readonly<Record<string, unknown>>;

/** One case of the wire reference, as its README describes the members. */
export interface Vector {
  readonly name: string;
  readonly description: string;
  readonly note?: string;
  readonly provider: string;
  readonly config: Json & { readonly model: string; readonly baseUrl?: string; readonly region?: string };
  readonly endpoint?: "embeddings";
  readonly openaiRequest: Json;
  readonly providerHttp: {
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
  };
  readonly providerRequest: Json;
  readonly providerStatus?: number;
  readonly providerHeaders?: Readonly<Record<string, string>>;
  readonly providerResponse?: unknown;
  readonly providerStream?: {
    readonly framing: "sse" | "ndjson" | "aws-eventstream";
    readonly contentType: string;
    readonly raw?: string;
    readonly framesBase64?: readonly string[];
  };
  readonly openaiResponse?: unknown;
  readonly openaiChunks?: readonly unknown[];
  readonly done?: boolean;
  readonly errorClass?: ErrorClass;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number | null;
  readonly openaiError?: { readonly status: number; readonly body: unknown };
  /** Request fields that are reported as left out or approximated. Only our own fixtures have it. */
  readonly dropped?: readonly string[];
}

/** The reference lies beside the repository; it is not part of it. */
const REFERENCE = fileURLToPath(new URL("../../../shared/reference/providers/vectors", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

/**
 * The vectors of the wire reference that `takes` accepts.
 * @returns `undefined` where the reference is not there.
 */
export function readVectors(takes: (vector: Vector) => boolean): Vector[] | undefined {
  return existsSync(REFERENCE) ? vectorsIn(REFERENCE).filter(takes) : undefined;
}

/**
 * Our own vectors, of the same form: what a clone without the reference is held against. Fixtures of other forms name no
 * provider.
 */
export function readFixtures(): Vector[] {
  return vectorsIn(FIXTURES).filter(({ provider }) => provider !== undefined);
}

function vectorsIn(folder: string): Vector[] {
  const families = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return families.flatMap(({ name: family }) =>
    readdirSync(`${folder}/${family}`)
      .filter((file) => file.endsWith(".json"))
      .map((file) => {
        const text = readFileSync(`${folder}/${family}/${file}`, "utf8");
        return { ...(JSON.parse(text) as Vector), name: `${family}/${file.slice(0, -5)}` };
      }),
  );
}

const TEST_KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret-key-for-signing-tests" };

/** The upstream that a vector's `config` describes. */
export function connectVector(provider: Provider, { config }: Vector): WireUpstream {
  const own = Object.fromEntries(
    Object.entries(config).filter(([option]) => provider.ownOptions?.includes(option) ?? false),
  );
  const { model, baseUrl, region } = config;
  const upstream = provider.connect({
    model,
    baseUrl,
    unknownFields: "forward",
    region,
    // The vectors list no signatures; `bedrock-sigv4.json` does.
    own: provider.name === "bedrock" ? { ...own, ...TEST_KEYS } : own,
  });
  if (upstream.kind !== "wire") throw new Error(`${provider.name} is no wire upstream`);
  return upstream;
}

/** The attempt that a vector's request makes. */
export function vectorAttempt({ config, endpoint, openaiRequest, note }: Vector): AttemptContext {
  const { stream, stream_options: options, logprobs, encoding_format: format } = openaiRequest;
  // Some delays are absolute times: this one has passed, so that they are no delay.
  const isAbsolute = note?.includes("depends on the clock") ?? false;
  return anAttempt({
    operation: endpoint ?? "chat.completions",
    model: config.model,
    isStreaming: stream === true,
    includeUsage: stream === true && (options as Json | undefined)?.include_usage === true,
    wantsLogprobs: logprobs === true,
    wantsBase64: format === "base64",
    clock: standingClock(isAbsolute ? WALL_NOW_MS + 86_400_000 : WALL_NOW_MS),
    random: seededRandom(7),
  });
}

export function vectorBody({ openaiRequest }: Vector): RequestBody {
  return structuredClone(openaiRequest) as unknown as RequestBody; // as a caller writes it
}

/** The credential that a vector's request shows, in whichever header. */
export function vectorKey({ providerHttp: { headers } }: Vector): string | undefined {
  for (const name of ["api-key", "x-api-key", "x-goog-api-key"]) if (headers[name] !== undefined) return headers[name];
  return headers.authorization?.replace(/^Bearer /, "");
}

/** The bytes of a vector's streamed answer. */
export function vectorBytes({ providerStream, name }: Vector): Uint8Array {
  if (providerStream?.raw !== undefined) return new TextEncoder().encode(providerStream.raw);
  if (providerStream?.framesBase64) {
    return Buffer.concat(providerStream.framesBase64.map((frame) => Buffer.from(frame, "base64")));
  }
  throw new Error(`${name} has no stream`);
}

/** All that came out of a stream. */
export interface DecodedStream<T> {
  readonly chunks: T[];
  readonly error: UpstreamError | undefined;
  readonly isDone: boolean;
  readonly contentAt: number | undefined;
  readonly summary: StreamDecoder<T>["summary"];
}

/** Feeds a stream in pieces and ends it, as the router does. */
export function decodeStream<T>(decoder: StreamDecoder<T>, pieces: Iterable<Uint8Array>): DecodedStream<T> {
  const chunks: T[] = [];
  let error: UpstreamError | undefined;
  try {
    for (const piece of pieces) {
      if (decoder.isDone) break;
      decoder.push(piece, chunks);
    }
    decoder.end(chunks);
  } catch (thrown) {
    if (!(thrown instanceof UpstreamError)) throw thrown;
    error = thrown;
  }
  const { isDone, contentAt, summary } = decoder;
  return { chunks, error, isDone, contentAt, summary };
}

/** One byte at a time. */
export function* singleBytes(bytes: Uint8Array): Generator<Uint8Array> {
  for (let index = 0; index < bytes.length; index++) yield bytes.subarray(index, index + 1);
}

/**
 * Where a stream is to be cut: everywhere where it is small, else at the edges of its lines and at some seeded places.
 */
export function cutPositions(bytes: Uint8Array, seed = 11): number[] {
  if (bytes.length <= 20_480) return Array.from({ length: bytes.length + 1 }, (_, position) => position);
  const random = seededRandom(seed);
  const positions = new Set<number>();
  bytes.forEach((byte, index) => {
    if (byte === 0x0a) positions.add(index).add(index + 1);
  });
  for (let count = 0; count < 200; count++) positions.add(Math.floor(random.next() * bytes.length));
  return [...positions];
}

/**
 * What a value is when generated ids and times are taken for what the vector calls them: `@id`, `@created`,
 * `@call:n`. Equal labels must mean equal values, different labels different ones.
 */
export class Placeholders {
  readonly #values = new Map<string, unknown>();

  /** `actual`, with the labels of `expected` wherever it holds what they allow. */
  label(actual: unknown, expected: unknown): unknown {
    if (typeof expected === "string" && expected.startsWith("@"))
      return this.#fits(actual, expected) ? expected : actual;
    if (Array.isArray(actual) && Array.isArray(expected)) {
      return actual.map((value, index) => this.label(value, expected[index]));
    }
    if (isObject(actual) && isObject(expected)) {
      return Object.fromEntries(Object.entries(actual).map(([key, value]) => [key, this.label(value, expected[key])]));
    }
    return actual;
  }

  #fits(actual: unknown, label: string): boolean {
    const isRight =
      label === "@created"
        ? Number.isInteger(actual)
        : label === "@id"
          ? typeof actual === "string" && /^chatcmpl-.+/.test(actual)
          : label.startsWith("@call:") && typeof actual === "string" && actual !== "";
    if (!isRight) return false;
    if (this.#values.has(label)) return this.#values.get(label) === actual;
    const isTaken = [...this.#values].some(([other, value]) => value === actual && other.startsWith("@call:"));
    this.#values.set(label, actual);
    return !isTaken;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
