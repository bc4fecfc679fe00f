import { routerError } from "../errors/router-error.js";
import { onAbort } from "../internal/abort.js";
import type { Clock, Timer } from "../internal/clock.js";
import type { Principal } from "../plugins/plugin.js";
import type { RelayPiece } from "../providers/provider.js";
import type { AnswerStream, HandlerContext, HostCallOptions } from "../router/call.js";
import { BodyMeter } from "./body.js";
import { DONE_EVENT, errorEvent, framesOf } from "./event-stream.js";
import type { BodyLimits, HttpRequest, HttpService, ReadBody } from "./http-request.js";
import type { HttpReply } from "./reply.js";

const encoder = new TextEncoder();

/**
 * Answers a web `Request`. Never rejects.
 * @returns `undefined` when the request was aborted before there was an answer.
 */
export async function serveWeb<R extends { readonly kind: string }>(
  service: HttpService<R>,
  request: Request,
  context: HandlerContext | undefined,
): Promise<Response | undefined> {
  const route = service.findRoute(request.url, "");
  const reply = await service.answer(route, new WebRequest(service.settings.clock, request, context));
  return reply && responseOf(service.settings, request, reply);
}

function responseOf(
  { clock, stallTimeoutMs }: HttpService["settings"],
  request: Request,
  reply: HttpReply,
): Response | undefined {
  const headers = new Headers();
  for (let index = 0; index < reply.headers.length; index += 2) {
    // In range: names and values come in pairs.
    headers.append(reply.headers[index] as string, reply.headers[index + 1] as string);
  }
  if (reply.kind === "whole" || reply.kind === "bytes") {
    // Bytes of a transport lie in no memory that is shared.
    const bytes = reply.kind === "bytes" ? (reply.bytes as Uint8Array<ArrayBuffer>) : encoder.encode(reply.text);
    headers.set("content-length", String(bytes.length));
    const status = reply.kind === "bytes" ? 200 : reply.status;
    return new Response(request.method === "HEAD" ? null : bytes, { status, headers });
  }
  if (request.signal.aborted) {
    reply.stream.cancel();
    return undefined;
  }
  const bytes = streamBytes(reply.kind, reply.stream, request.signal, clock, stallTimeoutMs);
  return new Response(bytes, { status: 200, headers });
}

class WebRequest implements HttpRequest {
  readonly method: string;
  readonly principal: Principal | undefined;
  readonly hostOptions: HostCallOptions | undefined;
  readonly cancellation = undefined;
  readonly #clock: Clock;
  readonly #request: Request;

  constructor(clock: Clock, request: Request, context: HandlerContext | undefined) {
    this.#clock = clock;
    this.#request = request;
    this.method = request.method;
    this.principal = context?.principal;
    this.hostOptions = context?.options;
  }

  get isGone(): boolean {
    return this.#request.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined;
  }

  /** `Headers` joins repetitions: the values themselves have to tell. */
  repeatsHeader(): boolean {
    return false;
  }

  async readBody(limits: BodyLimits): Promise<ReadBody> {
    if (this.#request.bodyUsed) {
      throw routerError("internal_error", {
        message: "The request body was read before it reached the handler: hand over a request that nobody has read.",
      });
    }
    const reader = this.#request.body?.getReader();
    if (!reader) return { kind: "bytes", bytes: new Uint8Array() };
    let giveUp: (error: unknown) => void = () => {};
    const givenUp = new Promise<never>((_resolve, reject) => {
      giveUp = reject;
    });
    const meter = new BodyMeter(this.#clock, limits, giveUp);
    const stopListening = onAbort(this.signal, (cause) => giveUp(routerError("cancelled", { cause })));
    try {
      return { kind: "bytes", bytes: await Promise.race([readAll(reader, meter), givenUp]) };
    } catch (error) {
      // Nobody waits for the rest; a source that refuses to be cancelled changes nothing.
      reader.cancel().catch(() => {});
      throw error;
    } finally {
      meter.stop();
      stopListening();
    }
  }
}

/** @throws {RouterError} `request_too_large`, or `cancelled`: the body broke off. */
async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>, meter: BodyMeter): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw routerError("cancelled", { message: "The request body broke off.", cause });
    });
    if (done) break;
    meter.add(value.length);
    chunks.push(value);
    length += value.length;
  }
  const [first] = chunks;
  if (first && chunks.length === 1) return first;
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** A stream as bytes, taken from its source only when the client asks for more. */
function streamBytes(
  kind: "events" | "text",
  stream: AnswerStream<RelayPiece>,
  signal: AbortSignal,
  clock: Clock,
  stallTimeoutMs: number,
): ReadableStream<Uint8Array> {
  let stopListening = () => {};
  let stall: Timer | undefined;
  let isOver = false;
  const end = () => {
    isOver = true;
    stopListening();
    stall?.cancel();
  };
  const fail = (controller: ReadableStreamDefaultController, reason: unknown) => {
    end();
    stream.cancel();
    controller.error(reason);
  };
  /** Nobody may ever read on: the wait for it has an end, too. */
  const awaitReader = (controller: ReadableStreamDefaultController) => {
    const message = `The client read nothing for ${stallTimeoutMs} ms.`;
    stall = clock.schedule(stallTimeoutMs, () => fail(controller, routerError("cancelled", { message })), true);
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        awaitReader(controller);
        stopListening = onAbort(signal, (reason) => fail(controller, reason));
      },
      async pull(controller) {
        stall?.cancel();
        let pieces: readonly RelayPiece[];
        let isLast = false;
        try {
          const next = await stream.next();
          isLast = next === undefined;
          if (kind === "text") pieces = next ?? [];
          else pieces = next ? framesOf(next) : [DONE_EVENT];
        } catch (error) {
          isLast = true;
          // Of a text only a cut connection says that it is not complete.
          if (kind === "text" && !isOver) return fail(controller, error);
          pieces = [errorEvent(error)];
        }
        // The client left while the router was waiting for the upstream.
        if (isOver) return;
        for (const piece of pieces) {
          if (piece.length > 0) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
        }
        if (!isLast) return awaitReader(controller);
        end();
        controller.close();
      },
      cancel() {
        end();
        stream.cancel();
      },
    },
    // Nothing is pulled before somebody reads.
    { highWaterMark: 0 },
  );
}
