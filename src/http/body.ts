import { type RouterError, routerError } from "../errors/router-error.js";
import type { Clock, Timer } from "../internal/clock.js";
import { exceedsDepth, findJsonFault, isDeeperThan } from "../protocol/json.js";
import type { BodyLimits, HttpRequest, ReadBody } from "./http-request.js";

/**
 * Looks at the headers before a byte of the body is read.
 * @throws {RouterError} `unsupported_media_type` or `request_too_large`.
 */
export function checkBodyHeaders(request: HttpRequest, limits: BodyLimits): void {
  const coding = request.header("content-encoding");
  if (coding !== undefined && coding !== "" && coding.toLowerCase() !== "identity") {
    throw routerError("unsupported_media_type", {
      message: "Compressed request bodies are not accepted: send the body without `content-encoding`.",
    });
  }
  const type = request.header("content-type");
  if (type !== undefined && type !== "application/json" && !isJson(type)) {
    throw routerError("unsupported_media_type", {
      message: "Expected the request's `content-type` to be application/json in UTF-8.",
    });
  }
  // Wrong or missing lengths are settled by counting the bytes.
  checkBodySize(Number(request.header("content-length")), limits);
}

/** @throws {RouterError} `request_too_large`. */
function checkBodySize(bytes: number, { maxBodyBytes }: BodyLimits): void {
  if (!(bytes > maxBodyBytes)) return;
  throw routerError("request_too_large", { message: `The request body is larger than ${maxBodyBytes} bytes.` });
}

function isJson(contentType: string): boolean {
  const [type = "", ...parameters] = contentType.toLowerCase().split(";");
  return (
    (type.trim() === "application/json" || type.trim() === "") &&
    parameters.every((parameter) => {
      const [name = "", value = ""] = parameter.split("=");
      return name.trim() !== "charset" || /^"?utf-?8"?$/.test(value.trim());
    })
  );
}

/**
 * Watches size and pace of a body while it arrives.
 *
 * Pace: a body has `bodyGraceMs`, and beyond that as long as its bytes buy at `minBodyBytesPerSecond`, at most
 * `bodyTimeoutMs` in all. One timer at a time, however many chunks come.
 */
export class BodyMeter {
  readonly #clock: Clock;
  readonly #limits: BodyLimits;
  readonly #startedAt: number;
  readonly #onLate: (error: RouterError) => void;
  #timer: Timer | undefined;
  #bytes = 0;

  #isStopped = false;

  /**
   * @param onLate - Called once if the body is too slow.
   * @param isWatching - Without it the time is measured from now on, too, but nobody looks before {@link watch}.
   */
  constructor(clock: Clock, limits: BodyLimits, onLate: (error: RouterError) => void, isWatching = true) {
    this.#clock = clock;
    this.#limits = limits;
    this.#startedAt = clock.now();
    this.#onLate = onLate;
    if (isWatching) this.watch();
  }

  /** Looks at the pace from now on. A timer costs more than all the rest: whoever has the whole body needs none. */
  watch(): void {
    if (!this.#isStopped) this.#schedule(this.#allowedMs());
  }

  /** @throws {RouterError} `request_too_large`: the body ends here. */
  add(bytes: number): void {
    this.#bytes += bytes;
    checkBodySize(this.#bytes, this.#limits);
  }

  /** The body is complete, or nobody waits for it any more. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #allowedMs(): number {
    const { bodyTimeoutMs, bodyGraceMs, minBodyBytesPerSecond } = this.#limits;
    if (minBodyBytesPerSecond === 0) return bodyTimeoutMs;
    return Math.min(bodyTimeoutMs, bodyGraceMs + (1_000 * this.#bytes) / minBodyBytesPerSecond);
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#clock.schedule(delayMs, () => this.#check(), true);
  }

  #check(): void {
    const restMs = this.#startedAt + this.#allowedMs() - this.#clock.now();
    // Timers may fire early by a fraction of a millisecond.
    if (restMs > 1) {
      this.#schedule(restMs);
      return;
    }
    this.#timer = undefined;
    this.#onLate(
      routerError("request_timeout", {
        message: `The request body came too slowly: ${this.#bytes} bytes in ${Math.round(this.#clock.now() - this.#startedAt)} ms.`,
      }),
    );
  }
}

/** Fatal: bytes that are no UTF-8 are refused, not replaced. */
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The JSON object that a body holds.
 * @throws {RouterError} `invalid_request`, saying where the fault is without quoting what is there.
 */
export function parseBody(body: ReadBody, { maxJsonDepth }: BodyLimits): object {
  let value: unknown;
  if (body.kind === "value" && typeof body.value !== "string") {
    if (isDeeperThan(body.value, maxJsonDepth)) throw tooDeep(maxJsonDepth);
    value = body.value;
  } else {
    const text = body.kind === "value" ? String(body.value) : decode(body.bytes);
    if (exceedsDepth(text, maxJsonDepth)) throw tooDeep(maxJsonDepth);
    try {
      value = JSON.parse(text);
    } catch {
      if (text.trim() === "") throw invalid("The request has no body: expected a JSON object.");
      throw invalid(
        `The request body is not valid JSON: it breaks off or is wrong at position ${findJsonFault(text)}.`,
      );
    }
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid("Expected the request body to be a JSON object.");
  }
  return value;
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw invalid("The request body is not valid UTF-8.");
  }
}

const invalid = (message: string): RouterError => routerError("invalid_request", { message });

const tooDeep = (maxJsonDepth: number): RouterError =>
  invalid(`The request body nests arrays and objects deeper than ${maxJsonDepth} levels.`);
