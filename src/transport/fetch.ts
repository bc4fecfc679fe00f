import { badResponse, unreachable } from "../errors/upstream-error.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import { decodeText, joinBytes } from "./bytes.js";
import { connectionFault, MAX_HEADER_BYTES } from "./connection-fault.js";
import { addHeader } from "./headers.js";
import type { BufferGauge } from "./incoming-body.js";
import type { Exchange, ResponseBody, Transport, TransportRequest, TransportResponse } from "./transport.js";

export interface FetchTransportOptions {
  /** Called instead of the platform's `fetch`, which is looked up at each call. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/**
 * The transport for runtimes without undici, and for tests that replace `globalThis.fetch`.
 *
 * Connections are the platform's: partitions and `isStrict` cannot be had here, `onConnected` is called when the
 * call is handed over, connection or not, and unread bytes are held back by the platform, which does not tell how many.
 */
export function fetchTransport(options: FetchTransportOptions = {}): Transport {
  return new FetchTransport(options);
}

class FetchTransport implements Transport {
  readonly #fetch: typeof globalThis.fetch | undefined;
  readonly #gauge: BufferGauge = { bytes: 0 };
  readonly #underWay = new Set<FetchExchange>();
  #isClosed = false;

  constructor({ fetch }: FetchTransportOptions) {
    this.#fetch = fetch;
  }

  get bufferedBytes(): number {
    return this.#gauge.bytes;
  }

  send(request: TransportRequest): Exchange {
    const exchange = new FetchExchange(request, this.#gauge, this.#underWay);
    if (this.#isClosed) exchange.cancel(unreachable("the transport is closed"));
    else exchange.start(this.#fetch ?? globalThis.fetch);
    return exchange;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const error = unreachable("the transport is closed");
    for (const exchange of this.#underWay) exchange.cancel(error);
  }
}

const nothing = () => {};

class FetchExchange implements Exchange, ResponseBody {
  readonly #request: TransportRequest;
  readonly #gauge: BufferGauge;
  readonly #underWay: Set<FetchExchange>;
  readonly #controller = new AbortController();
  readonly #response = deferred<TransportResponse>();
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #pendingRead: Deferred<Uint8Array | undefined> | undefined;
  #state: "open" | "ended" | "failed" = "open";
  #failure: unknown;

  constructor(request: TransportRequest, gauge: BufferGauge, underWay: Set<FetchExchange>) {
    this.#request = request;
    this.#gauge = gauge;
    this.#underWay = underWay;
    underWay.add(this);
  }

  get response(): Promise<TransportResponse> {
    return this.#response.promise;
  }

  start(fetch: typeof globalThis.fetch): void {
    const { origin, path, method, headers, body, onConnected } = this.#request;
    try {
      onConnected?.();
      const init: RequestInit = {
        method,
        headers: { ...headers },
        redirect: "manual",
        signal: this.#controller.signal,
      };
      // `fetch` takes views on every kind of buffer; its type wants to know that this one is not shared.
      if (body !== undefined) init.body = body as BodyInit;
      fetch(origin + path, init).then(
        (response) => this.#answered(response),
        (error: unknown) => this.#fail(connectionFault(error, origin, "answer")),
      );
    } catch (error) {
      this.#fail(connectionFault(error, origin, "answer"));
    }
  }

  cancel(reason: unknown): void {
    if (this.#state === "ended") return;
    const wasOpen = this.#state === "open";
    this.#fail(reason);
    this.#failure = reason;
    if (!wasOpen) return;
    this.#controller.abort(reason);
    this.#reader?.cancel(reason).catch(nothing);
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.#state === "failed") return Promise.reject(this.#failure);
    const reader = this.#reader;
    if (this.#state === "ended" || !reader) return Promise.resolve(undefined);
    // Settled by whoever is first: not every `fetch` ends its reads when it is aborted.
    const pending = deferred<Uint8Array | undefined>();
    this.#pendingRead = pending;
    reader.read().then(
      ({ value }) => {
        if (this.#state !== "open") return;
        if (value === undefined) this.#end();
        this.#pendingRead = undefined;
        pending.resolve(value);
      },
      (error: unknown) => this.#fail(connectionFault(error, this.#request.origin, "body")),
    );
    return pending.promise;
  }

  async text(maxBytes: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    try {
      for (;;) {
        const bytes = await this.read();
        if (bytes === undefined) break;
        chunks.push(bytes);
        size += bytes.length;
        this.#gauge.bytes += bytes.length;
        if (size > maxBytes) {
          const error = badResponse(`the body is larger than ${maxBytes} bytes`);
          this.cancel(error);
          throw error;
        }
      }
      return decodeText(joinBytes(chunks, size));
    } finally {
      this.#gauge.bytes -= size;
    }
  }

  #answered(response: Response): void {
    if (this.#state !== "open") {
      // Cancelled, and the platform did not care.
      response.body?.cancel().catch(nothing);
      return;
    }
    const headers = new Map<string, string>();
    let headerBytes = 0;
    response.headers.forEach((value, name) => {
      headerBytes += name.length + value.length;
      addHeader(headers, name, value);
    });
    this.#reader = response.body?.getReader();
    if (headerBytes > MAX_HEADER_BYTES) {
      this.cancel(connectionFault({ code: "UND_ERR_HEADERS_OVERFLOW" }, this.#request.origin, "answer"));
      return;
    }
    if (!this.#reader) this.#end();
    // Browsers hide what a redirect says behind status 0; it is refused like any other (S4).
    const status = response.type === "opaqueredirect" ? 302 : response.status;
    this.#response.resolve({ status, headers, body: this });
  }

  #end(): void {
    this.#state = "ended";
    this.#underWay.delete(this);
  }

  #fail(error: unknown): void {
    if (this.#state !== "open") return;
    this.#state = "failed";
    this.#failure = error;
    this.#underWay.delete(this);
    // Whoever waited may have left; that must not count as an unhandled rejection (R8).
    this.#response.promise.catch(nothing);
    this.#response.reject(error);
    this.#pendingRead?.promise.catch(nothing);
    this.#pendingRead?.reject(error);
    this.#pendingRead = undefined;
  }
}
