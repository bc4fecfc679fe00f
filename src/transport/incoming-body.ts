import { badResponse } from "../errors/upstream-error.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { decodeText, joinBytes } from "./bytes.js";
import type { ResponseBody } from "./transport.js";

/** Unread bytes above which a body stops taking more (S32). */
export const PAUSE_ABOVE_BYTES = 256 * 1024;

/** Bytes held by all bodies of one transport. */
export interface BufferGauge {
  bytes: number;
}

/** The connection that a body comes from. */
export interface BodySource {
  /** More may come again, after `write` said no. May write at once. */
  resume(): void;
  /** The body is of no use any more: what is still to come ends with the connection. */
  abandon(): void;
}

const nothing = () => {};
const asTheyAre = (bytes: Uint8Array) => bytes;
const AT_END: Promise<undefined> = Promise.resolve(undefined);

/** A body that a connection pushes in and one reader pulls out. The gauge counts what lies between. */
export class IncomingBody implements ResponseBody {
  readonly #gauge: BufferGauge;
  readonly #source: BodySource;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #state: "open" | "ended" | "failed" = "open";
  #failure: unknown;
  #isPaused = false;
  #reader: Deferred<Uint8Array | undefined> | undefined;
  #isDelivering = false;
  #collector: Deferred<unknown> | undefined;
  /** What whoever collects the whole body gets of it. */
  #form: (bytes: Uint8Array) => unknown = decodeText;
  #maxBytes = Number.POSITIVE_INFINITY;

  constructor(gauge: BufferGauge, source: BodySource) {
    this.#gauge = gauge;
    this.#source = source;
  }

  /** Takes bytes over without copying them. @returns false: stop until `resume`. */
  write(bytes: Uint8Array): boolean {
    if (this.#state !== "open") return true;
    this.#chunks.push(bytes);
    this.#size += bytes.length;
    this.#gauge.bytes += bytes.length;
    if (this.#collector) {
      if (this.#size > this.#maxBytes) this.#settleWaiting(this.#refuseSize());
      return true;
    }
    if (this.#reader && !this.#isDelivering) {
      // Not at once: one packet often holds many small chunks, and together they cost the reader one turn.
      this.#isDelivering = true;
      queueMicrotask(() => this.#deliver());
    }
    if (this.#size <= PAUSE_ABOVE_BYTES) return true;
    this.#isPaused = true;
    return false;
  }

  /** The body is complete. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ended";
    const collector = this.#collector;
    if (collector) {
      this.#collector = undefined;
      collector.resolve(this.#form(this.#takeWhole()));
    } else if (this.#reader && !this.#isDelivering) {
      const reader = this.#reader;
      this.#reader = undefined;
      reader.resolve(undefined);
    }
  }

  /** The connection broke. What came before it can still be read. */
  fail(error: unknown): void {
    if (this.#state !== "open") return;
    this.#state = "failed";
    this.#failure = error;
    if (this.#collector) this.#drop();
    else if (this.#isDelivering) return;
    this.#settleWaiting(error);
  }

  /** Nobody will read the rest: pending and later reads reject with `reason`, unless all has been read. */
  discard(reason: unknown): void {
    if (this.#state === "ended" && this.#size === 0) return;
    this.#state = "failed";
    this.#failure = reason;
    this.#drop();
    this.#settleWaiting(reason);
  }

  get isAtEnd(): boolean {
    return this.#state === "ended" && this.#size === 0;
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.#size > 0) return Promise.resolve(this.#take());
    if (this.#state === "ended") return AT_END;
    if (this.#state === "failed") return Promise.reject(this.#failure);
    this.#reader = deferred();
    return this.#reader.promise;
  }

  text(maxBytes: number): Promise<string> {
    return this.#collect(maxBytes, decodeText);
  }

  bytes(maxBytes: number): Promise<Uint8Array> {
    return this.#collect(maxBytes, asTheyAre);
  }

  #collect<T>(maxBytes: number, form: (bytes: Uint8Array) => T): Promise<T> {
    if (this.#state === "failed") {
      this.#drop();
      return Promise.reject(this.#failure);
    }
    this.#maxBytes = maxBytes;
    if (this.#size > maxBytes) return Promise.reject(this.#refuseSize());
    if (this.#state === "ended") return Promise.resolve(form(this.#takeWhole()));
    this.#form = form;
    this.#collector = deferred();
    const { promise } = this.#collector;
    this.#resume();
    return promise as Promise<T>; // of what `form` returns
  }

  #deliver(): void {
    this.#isDelivering = false;
    const reader = this.#reader;
    // Discarded meanwhile.
    if (!reader) return;
    this.#reader = undefined;
    reader.resolve(this.#take());
  }

  #take(): Uint8Array {
    const chunks = this.#chunks;
    const size = this.#size;
    this.#drop();
    this.#resume();
    // Several are joined: each costs its reader more than the copy does.
    return joinBytes(chunks, size);
  }

  #takeWhole(): Uint8Array {
    const chunks = this.#chunks;
    const size = this.#size;
    this.#drop();
    return joinBytes(chunks, size);
  }

  #drop(): void {
    this.#gauge.bytes -= this.#size;
    this.#size = 0;
    this.#chunks = [];
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#state === "open") this.#source.resume();
  }

  #refuseSize(): unknown {
    const error = badResponse(`the body is larger than ${this.#maxBytes} bytes`);
    const wasOpen = this.#state === "open";
    this.#state = "failed";
    this.#failure = error;
    this.#drop();
    if (wasOpen) this.#source.abandon();
    return error;
  }

  #settleWaiting(error: unknown): void {
    const waiting = this.#collector ?? this.#reader;
    this.#collector = undefined;
    this.#reader = undefined;
    if (!waiting) return;
    // Whoever waited may have left; that must not count as an unhandled rejection (R8).
    waiting.promise.catch(nothing);
    waiting.reject(error);
  }
}
