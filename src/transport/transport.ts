/** One call to an upstream, ready to be sent: everything in it comes from configuration or from a dialect. */
export interface TransportRequest {
  readonly method: "GET" | "POST";
  /** Scheme, host and port: `https://api.example.com`. */
  readonly origin: string;
  /** Path and query, as they go on the wire. */
  readonly path: string;
  /** Names in lower case; values already checked. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  /** Connections are shared only between requests of the same origin and partition: one per credential. */
  readonly partition: string;
  /** Use a connection of its own and close it afterwards (`isolation: "strict"`). */
  readonly isStrict: boolean;
  /** Called once when the request has a connection and starts to be written. Never after the response. */
  readonly onConnected?: (() => void) | undefined;
}

/** The body of a response. Exactly one of `read` (to its end) or `text` is used, or the exchange is cancelled. */
export interface ResponseBody {
  /**
   * The next bytes, or `undefined` at the end. One call at a time. Unread bytes beyond 256 KiB pause the
   * connection.
   * @throws {UpstreamError} class `network`: the connection broke, or the framing is wrong.
   */
  read(): Promise<Uint8Array | undefined>;
  /** It is known that nothing more comes, and all has been read. May stay `undefined`. */
  readonly isAtEnd?: boolean | undefined;
  /**
   * The whole body as UTF-8 text.
   * @throws {UpstreamError} class `network`: broken, or larger than `maxBytes` (then a bad response).
   */
  text(maxBytes: number): Promise<string>;
  /** The same as bytes, which are the reader's own; not every transport has them together. */
  bytes?(maxBytes: number): Promise<Uint8Array>;
}

export interface TransportResponse {
  readonly status: number;
  /** Names in lower case; repeated headers joined with `, `. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: ResponseBody;
}

/** A call under way. */
export interface Exchange {
  /**
   * Settles when the final response's headers are here; 1xx replies do not count.
   * @throws {UpstreamError} class `network`: refused, reset, TLS, DNS, bad framing, headers over 16 KiB.
   */
  readonly response: Promise<TransportResponse>;
  /**
   * Ends the call wherever it is, and its connection with it. Pending and later reads reject with `reason`. Does
   * nothing once the body has been read to its end.
   */
  cancel(reason: unknown): void;
}

/**
 * The one way out of the process: a port with one method. Follows no redirects, decodes no content coding,
 * retries nothing, and knows no deadlines: callers cancel.
 */
export interface Transport {
  send(request: TransportRequest): Exchange;
  /** Bytes received and not yet read, over all exchanges. */
  readonly bufferedBytes: number;
  /** Drops idle connections and cancels what is under way. */
  close(): Promise<void>;
}
