import { routerError } from "../../src/errors/router-error.js";
import type { HandlerTarget } from "../../src/http/answer-request.js";
import { type Deferred, deferred } from "../../src/internal/deferred.js";
import type { Principal } from "../../src/plugins/plugin.js";
import type { ChatCompletion } from "../../src/protocol/chat.js";
import { type Answer, type AnswerStream, answerCall, type Call } from "../../src/router/call.js";
import type { RoutingRecord } from "../../src/router/routing-record.js";

/** A router that answers what the test says, and remembers what it was asked. */
export interface ScriptedRouter extends HandlerTarget {
  readonly calls: Call[];
  /** Principals of `models.list`, in order. */
  readonly listedFor: (Principal | undefined)[];
  isDraining: boolean;
  inputLimits: HandlerTarget["inputLimits"];
}

/** @param answer - Called for each request; what it throws or rejects with ends the request. */
export function scriptedRouter(answer: (call: Call) => Answer | Promise<Answer> = () => aReply()): ScriptedRouter {
  const router: ScriptedRouter = {
    calls: [],
    listedFor: [],
    isDraining: false,
    inputLimits: undefined,
    async [answerCall](call) {
      router.calls.push(call);
      return answer(call);
    },
    models: {
      async list(options) {
        router.listedFor.push(options?.principal);
        const data = ["chat", "openai/gpt-4o:latest"].map((id) => ({
          id,
          object: "model" as const,
          created: 0,
          owned_by: "switchyard",
        }));
        return { object: "list", data };
      },
    },
    status: () => ({ isDraining: router.isDraining }),
  };
  return router;
}

export function aCompletion(content = "Hello"): ChatCompletion {
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model: "llama",
    choices: [
      { index: 0, message: { role: "assistant", content, refusal: null }, logprobs: null, finish_reason: "stop" },
    ],
    usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  };
}

export function aRoutingRecord(fields: Partial<RoutingRecord> = {}): RoutingRecord {
  const record: RoutingRecord = {
    requestId: "req_1",
    model: "chat",
    group: "chat",
    experiment: undefined,
    deployment: "vllm/llama@gpu-a",
    provider: "vllm",
    attempts: [
      {
        number: 1,
        isHedge: false,
        resumed: false,
        group: "chat",
        deployment: "vllm/llama@gpu-a",
        provider: "vllm",
        outcome: "ok",
        errorClass: undefined,
        code: undefined,
        status: 200,
        message: undefined,
        durationMs: 12,
        ttftMs: undefined,
        matchedTokens: 0,
        usageFlags: [],
      },
    ],
    considered: [],
    excluded: [],
    candidates: undefined,
    dropped: [],
    queuedMs: 0,
    resumed: false,
    ttftMs: undefined,
    durationMs: 12,
    rateLimits: undefined,
    cache: undefined,
    usage: undefined,
    costUsd: null,
    outcome: "succeeded",
    done: Promise.resolve().then(() => record),
    ...fields,
  };
  return record;
}

export function aReply(content?: string, routing: Partial<RoutingRecord> = {}): Answer {
  return { kind: "reply", reply: aCompletion(content), routing: aRoutingRecord(routing) };
}

/** The JSON text of a chunk with this content. */
export function aChunkText(content: string): string {
  return JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: "llama",
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  });
}

/** A stream that yields what the test pushes. */
export interface ScriptedStream extends AnswerStream<string> {
  /** How often `next` was called. */
  readonly nextCount: number;
  /** How often `cancel` was called. */
  readonly cancelCount: number;
  /** Resolves when `cancel` is first called. */
  readonly cancelled: Promise<void>;
  push(...texts: string[]): void;
  end(): void;
  fail(error: unknown): void;
  readonly answer: Answer;
}

export function scriptedStream(): ScriptedStream {
  const queue: (readonly string[] | undefined | Error)[] = [];
  const cancelled = deferred<void>();
  let waiting: Deferred<readonly string[] | undefined> | undefined;
  let nextCount = 0;
  let cancelCount = 0;

  const settle = (turn: Deferred<readonly string[] | undefined>, entry: readonly string[] | undefined | Error) => {
    if (entry instanceof Error) turn.reject(entry);
    else turn.resolve(entry);
  };
  const add = (entry: readonly string[] | undefined | Error) => {
    const turn = waiting;
    waiting = undefined;
    if (turn) settle(turn, entry);
    else queue.push(entry);
  };
  const stream: ScriptedStream = {
    next() {
      nextCount++;
      if (waiting) throw new Error("`next` was called while an earlier call was pending");
      const turn = deferred<readonly string[] | undefined>();
      if (queue.length > 0) settle(turn, queue.shift());
      else waiting = turn;
      return turn.promise;
    },
    cancel() {
      cancelCount++;
      cancelled.resolve();
      waiting?.reject(routerError("cancelled"));
      waiting = undefined;
    },
    get nextCount() {
      return nextCount;
    },
    get cancelCount() {
      return cancelCount;
    },
    cancelled: cancelled.promise,
    push: (...texts) => add(texts),
    end: () => add(undefined),
    fail: (error) => add(error as Error), // tests also fail streams with what is no error
    get answer(): Answer {
      return { kind: "stream", stream, routing: aRoutingRecord({ durationMs: undefined, outcome: undefined }) };
    },
  };
  return stream;
}
