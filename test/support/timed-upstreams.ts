import { unreachable } from "../../src/errors/upstream-error.js";
import type { Clock } from "../../src/internal/clock.js";
import { deferred } from "../../src/internal/deferred.js";
import type { Exchange, ResponseBody, Transport, TransportRequest } from "../../src/transport/transport.js";

/** What an upstream does with one call. */
export interface Timing {
  /** Until the first content, or the whole answer; with `status`, until that. @default 10 */
  readonly afterMs?: number;
  /** Between the tokens of a stream. @default 1 */
  readonly msPerToken?: number;
  /** @default ["from ", host] */
  readonly tokens?: readonly string[];
  /** Fails with this instead. */
  readonly status?: number;
  readonly message?: string;
  /** Breaks a stream after so many tokens. */
  readonly cutAfter?: number;
  /** Its usage comes with the first bytes, too, as some upstreams send it. */
  readonly usageFirst?: boolean;
}

/** One call, as the upstream saw it. */
export interface TimedCall {
  readonly host: string;
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly startedAt: number;
  cancelledAt: number | undefined;
  isOpen: boolean;
}

/** Upstreams in memory that take exactly the time that a test says, on its clock. */
export class TimedUpstreams implements Transport {
  readonly bufferedBytes = 0;
  readonly calls: TimedCall[] = [];
  readonly #next = new Map<string, Timing[]>();

  constructor(private readonly clock: Clock) {}

  /** What the next calls of a host meet; after them, and before: the defaults. */
  next(host: string, ...timings: readonly Timing[]): void {
    this.#next.set(host, [...(this.#next.get(host) ?? []), ...timings]);
  }

  get open(): number {
    return this.calls.filter(({ isOpen }) => isOpen).length;
  }

  /** Calls since so many were made. */
  since(count: number): readonly TimedCall[] {
    return this.calls.slice(count);
  }

  async close(): Promise<void> {}

  send(request: TransportRequest): Exchange {
    const { clock } = this;
    const host = new URL(request.origin).hostname;
    const timing = this.#next.get(host)?.shift() ?? {};
    const body = JSON.parse(String(request.body)) as Record<string, unknown>;
    const { path } = request;
    const call: TimedCall = { host, path, body, startedAt: clock.now(), cancelledAt: undefined, isOpen: true };
    this.calls.push(call);
    const stopped = deferred<never>();
    stopped.promise.catch(() => {});
    const { afterMs = 10, tokens = ["from ", host], status = 200, message = "no" } = timing;
    const timers = new AbortController();
    const end = () => {
      call.isOpen = false;
      timers.abort();
    };
    // A wait that the end cuts short brings nothing more.
    const wait = (ms: number) => clock.sleep(ms, timers.signal).catch(() => stopped.promise);
    request.onConnected?.();
    const answer = (text: string, isStream: boolean) => ({
      status,
      headers: new Map([["content-type", isStream ? "text/event-stream" : "application/json"]]),
      body: isStream ? stream(timing, tokens, call, stopped.promise, end, wait) : whole(text, end),
    });
    const response = async () => {
      if (status !== 200) {
        await wait(afterMs);
        return answer(JSON.stringify({ error: { message } }), false);
      }
      if (body.stream === true) return answer("", true);
      await wait(afterMs);
      return answer(path.endsWith("/embeddings") ? embedding(body) : completion(tokens), false);
    };
    return {
      response: Promise.race([response(), stopped.promise]),
      cancel(reason) {
        if (!call.isOpen) return;
        end();
        call.cancelledAt = clock.now();
        stopped.reject(reason);
      },
    };
  }
}

function stream(
  { afterMs = 10, msPerToken = 1, cutAfter, usageFirst }: Timing,
  tokens: readonly string[],
  call: TimedCall,
  stopped: Promise<never>,
  end: () => void,
  wait: (ms: number) => Promise<void>,
): ResponseBody {
  const usage = usageOf(tokens);
  const events: { readonly waitMs: number; readonly text: string }[] = [
    { waitMs: 0, text: chunk({ role: "assistant", content: "" }, null) + (usageFirst ? usageChunk(usage) : "") },
    ...tokens.map((content, index) => ({ waitMs: index === 0 ? afterMs : msPerToken, text: chunk({ content }, null) })),
  ];
  if (cutAfter === undefined) {
    events.push({ waitMs: msPerToken, text: `${chunk({}, "stop")}${usageChunk(usage)}data: [DONE]\n\n` });
  } else events.length = 1 + cutAfter;
  const read = async () => {
    const event = events.shift();
    if (!event) {
      end();
      if (cutAfter !== undefined) throw unreachable("connection reset");
      return undefined;
    }
    await Promise.race([event.waitMs > 0 ? wait(event.waitMs) : undefined, stopped]);
    if (!call.isOpen) await stopped;
    return new TextEncoder().encode(event.text);
  };
  return { read, text: async () => "" };
}

function whole(text: string, end: () => void): ResponseBody {
  const take = () => {
    end();
    return text;
  };
  return { read: async () => new TextEncoder().encode(take()), text: async () => take() };
}

const common = { id: "x", created: 1, model: "m" };

function usageOf(tokens: readonly string[]) {
  return { prompt_tokens: 3, completion_tokens: tokens.length, total_tokens: 3 + tokens.length };
}

function chunk(delta: object, finish_reason: string | null): string {
  const choices = [{ index: 0, delta, finish_reason }];
  return `data: ${JSON.stringify({ ...common, object: "chat.completion.chunk", choices })}\n\n`;
}

function usageChunk(usage: object): string {
  return `data: ${JSON.stringify({ ...common, object: "chat.completion.chunk", choices: [], usage })}\n\n`;
}

function completion(tokens: readonly string[]): string {
  const choices = [{ index: 0, message: { role: "assistant", content: tokens.join("") }, finish_reason: "stop" }];
  return JSON.stringify({ ...common, object: "chat.completion", choices, usage: usageOf(tokens) });
}

function embedding({ input }: Readonly<Record<string, unknown>>): string {
  const data = (Array.isArray(input) ? input : [input]).map((_, index) => ({
    object: "embedding",
    index,
    embedding: [0.5],
  }));
  const usage = { prompt_tokens: data.length, total_tokens: data.length };
  return JSON.stringify({ object: "list", model: "m", data, usage });
}
