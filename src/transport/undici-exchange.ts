import type { Dispatcher } from "undici";
import { connectionFault, type FaultStage } from "./connection-fault.js";
import type { Connection, ConnectionUser } from "./connection-pool.js";
import { responseHeaders } from "./headers.js";
import { type BodySource, type BufferGauge, IncomingBody } from "./incoming-body.js";
import type { Exchange, TransportRequest, TransportResponse } from "./transport.js";

const nothing = () => {};
const RESET = Object.assign(new Error("reset"), { code: "ECONNRESET" });
/**
 * One call over undici, which reports to it directly: no stream, no signal and no listeners are made for it. The
 * `on…` methods are those of undici's older handler interface, because the newer one costs an adapter and two objects per
 * call.
 */
export class UndiciExchange implements Exchange, ConnectionUser, BodySource {
  readonly response: Promise<TransportResponse>;
  readonly #request: TransportRequest;
  readonly #gauge: BufferGauge;
  #connection: Connection | undefined;
  #stage: FaultStage = "connect";
  /** Complete, failed or cancelled; what was received may still be unread. */
  #isOver = false;
  #body: IncomingBody | undefined;
  #resolve: (response: TransportResponse) => void = nothing;
  #reject: (reason: unknown) => void = nothing;
  #resume = nothing;

  constructor(request: TransportRequest, gauge: BufferGauge) {
    this.#request = request;
    this.#gauge = gauge;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  startOn(connection: Connection): void {
    this.#connection = connection;
    // undici picks the fields it knows; to name them again would cost an object per call. The cast is for `body`, which
    // undici's types want absent rather than undefined.
    const options = this.#request as Dispatcher.DispatchOptions;
    connection.start(this, this.#request.isStrict ? { ...options, reset: true } : options);
  }

  cancel(reason: unknown): void {
    if (!this.#isOver) {
      this.#isOver = true;
      if (!this.#body) this.#rejectResponse(reason);
      this.#connection?.discard();
    }
    this.#body?.discard(reason);
  }

  /** The rest of the body is of no use. */
  abandon(): void {
    this.#isOver = true;
    this.#connection?.discard();
  }

  resume(): void {
    this.#resume();
  }

  /** The request has a connection and is being written. */
  onConnect(): void {
    this.#stage = "answer";
    this.#connection?.expectAnswer();
    this.#request.onConnected?.();
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void): boolean {
    if (status < 200) return true;
    this.#stage = "body";
    this.#resume = resume;
    this.#body = new IncomingBody(this.#gauge, this);
    this.#resolve({ status, headers: responseHeaders(rawHeaders), body: this.#body });
    return true;
  }

  onData(bytes: Buffer): boolean {
    return this.#body?.write(bytes) ?? true;
  }

  onComplete(): void {
    if (this.#isOver) return;
    if (this.#connection?.isReset) {
      // undici takes the reset of an answer without a length for its end.
      this.onError(RESET);
      return;
    }
    this.#isOver = true;
    this.#connection?.release();
    this.#body?.end();
  }

  onError(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isOurMistake = "code" in error && error.code === "UND_ERR_INVALID_ARG";
    const reason = isOurMistake
      ? new TypeError(error.message)
      : connectionFault(error, this.#request.origin, this.#stage);
    if (this.#body) this.#body.fail(reason);
    else this.#rejectResponse(reason);
    this.#connection?.discard();
  }

  #rejectResponse(reason: unknown): void {
    // Whoever cancels has often stopped waiting: that must not count as an unhandled rejection (R8).
    this.response.catch(nothing);
    this.#reject(reason);
  }
}
