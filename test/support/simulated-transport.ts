import { unreachable } from "../../src/errors/upstream-error.js";
import type { Clock } from "../../src/internal/clock.js";
import { deferred } from "../../src/internal/deferred.js";
import type { Random } from "../../src/internal/random.js";
import type { Exchange, ResponseBody, Transport, TransportRequest } from "../../src/transport/transport.js";

const utf8 = new TextEncoder();

/** What a simulated exchange does; picked anew for each request. */
export type Fault =
  | "none"
  | "refused"
  | "silent"
  | "status"
  | "cut"
  | "garbage"
  | "error-event"
  | "silent-body"
  | "no-finish"
  | "huge-usage";

export interface SimulatedTransportOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Share of exchanges with a fault, 0–1. */
  readonly faultRate: () => number;
  /** The text of every answer, in tokens; or of each. */
  readonly tokens: readonly string[] | ((request: TransportRequest) => readonly string[]);
}

const FAULTS: readonly Fault[] = [
  "refused",
  "silent",
  "status",
  "cut",
  "garbage",
  "error-event",
  "silent-body",
  "no-finish",
  "huge-usage",
];
const STATUSES = [400, 401, 404, 408, 429, 500, 502, 503, 529];

/** Upstreams in virtual time and memory: every wait is on the clock, and every byte boundary is drawn. */
export class SimulatedTransport implements Transport {
  readonly bufferedBytes = 0;
  /** Exchanges that are neither read to their end nor cancelled: 0 when nothing runs (R6). */
  open = 0;
  sent = 0;

  constructor(private readonly options: SimulatedTransportOptions) {}

  async close(): Promise<void> {}

  send(request: TransportRequest): Exchange {
    const { clock, random, faultRate } = this.options;
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
    const fault: Fault = random.next() < faultRate() ? pick(FAULTS) : "none";
    const tokens = typeof this.options.tokens === "function" ? this.options.tokens(request) : this.options.tokens;
    const isStreaming = String(request.body).includes('"stream":true');
    const response = deferred<Awaited<Exchange["response"]>>();
    const stopped = deferred<never>();
    stopped.promise.catch(() => {});
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      this.open -= 1;
    };
    this.open += 1;
    this.sent += 1;

    const begin = async () => {
      await clock.sleep(random.next() * 20);
      if (fault === "refused") {
        end();
        return response.reject(unreachable("connection refused"));
      }
      request.onConnected?.();
      if (fault === "silent") return;
      await clock.sleep(random.next() * 200);
      const status = fault === "status" ? pick(STATUSES) : 200;
      const headers = new Map([
        ["content-type", status === 200 && isStreaming ? "text/event-stream" : "application/json"],
      ]);
      if (status === 429 && random.next() < 0.5) headers.set("retry-after", String(Math.ceil(random.next() * 10)));
      const text =
        status === 200
          ? this.#body(isStreaming, fault, tokens)
          : JSON.stringify({ error: { message: `no ${status}` } });
      response.resolve({ status, headers, body: body(text) });
    };
    void begin();

    const body = (text: string): ResponseBody => {
      const bytes = utf8.encode(text);
      const stopAt =
        fault === "cut" || fault === "silent-body" ? Math.floor(random.next() * bytes.length) : bytes.length;
      let at = 0;
      const read = async (): Promise<Uint8Array | undefined> => {
        if (isOver) throw await stopped.promise.catch((reason) => reason);
        await Promise.race([clock.sleep(random.next() * 30), stopped.promise]);
        if (at < stopAt) {
          const until = Math.min(stopAt, at + 1 + Math.floor(random.next() * 200));
          const piece = bytes.subarray(at, until);
          at = until;
          return piece;
        }
        if (fault === "silent-body") return stopped.promise;
        end();
        if (fault === "cut") throw unreachable("connection reset");
        return undefined;
      };
      return {
        read,
        async text() {
          const pieces: Uint8Array[] = [];
          for (let piece = await read(); piece; piece = await read()) pieces.push(piece);
          return Buffer.concat(pieces).toString();
        },
      };
    };

    return {
      response: Promise.race([response.promise, stopped.promise]),
      cancel(reason) {
        if (isOver) return;
        end();
        stopped.reject(reason);
      },
    };
  }

  #body(isStreaming: boolean, fault: Fault, tokens: readonly string[]): string {
    const { random } = this.options;
    const usage =
      fault === "huge-usage"
        ? { prompt_tokens: -1, completion_tokens: 1e300, total_tokens: 0.5 }
        : { prompt_tokens: 3, completion_tokens: tokens.length, total_tokens: 3 + tokens.length };
    const common = { id: "x", created: 1, model: "m" };
    if (!isStreaming) {
      const choices = [{ index: 0, message: { role: "assistant", content: tokens.join("") }, finish_reason: "stop" }];
      const text = JSON.stringify({ ...common, object: "chat.completion", choices, usage });
      return fault === "garbage" || fault === "no-finish" ? text.slice(0, -3) : text;
    }
    const chunk = (delta: object, finish_reason: string | null) =>
      `data: ${JSON.stringify({ ...common, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
    const events = [
      chunk({ role: "assistant", content: "" }, null),
      ...tokens.map((content) => chunk({ content }, null)),
    ];
    const breakAt = Math.floor(random.next() * events.length);
    if (fault === "garbage") events.splice(breakAt, 0, "data: {garbage\n\n");
    if (fault === "error-event") events.splice(breakAt, 0, 'data: {"error":{"message":"broken"}}\n\n');
    if (fault !== "no-finish") events.push(chunk({}, "stop"));
    events.push(`data: ${JSON.stringify({ ...common, choices: [], usage })}\n\n`, "data: [DONE]\n\n");
    return events.join("");
  }
}
