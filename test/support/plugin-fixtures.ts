import type { RequestFacts } from "../../src/plugins/guarded-request.js";
import type {
  AttemptEvent,
  Plugin,
  RequestStartedEvent,
  SettledEvent,
  SettledUsage,
  WarningEvent,
} from "../../src/plugins/plugin.js";
import { PluginRunner } from "../../src/plugins/run-plugins.js";
import type { ChatChunk, ChatCompletion, ChatRequest } from "../../src/protocol/chat.js";
import { type VirtualClock, virtualClock } from "../../src/testing/virtual-clock.js";

export interface RunnerFixture {
  readonly clock: VirtualClock;
  readonly runner: PluginRunner;
  /** Messages of the warnings that observers got so far. */
  readonly warnings: string[];
}

/** A runner on virtual time, with an observer of warnings behind the given plugins. */
export function aRunner(...plugins: readonly Plugin[]): RunnerFixture {
  const clock = virtualClock();
  const warnings: string[] = [];
  const watcher: Plugin = { name: "watcher", onWarning: ({ message }) => warnings.push(message) };
  return { clock, warnings, runner: new PluginRunner({ plugins: [...plugins, watcher], clock }) };
}

export function someFacts(fields: Partial<RequestFacts> = {}): RequestFacts {
  return {
    id: "req_1",
    operation: "chat.completions",
    isStreaming: false,
    model: "chat",
    group: "chat",
    principal: { user: "u1", team: "t1" },
    tags: ["web"],
    metadata: { page: "home" },
    depth: 0,
    signal: new AbortController().signal,
    ...fields,
  };
}

export function aChatBody(fields: Partial<ChatRequest> = {}): ChatRequest {
  return { model: "chat", messages: [{ role: "user", content: "hello" }], ...fields };
}

export function aReply(content = "hi"): ChatCompletion {
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [
      { index: 0, message: { role: "assistant", content, refusal: null }, finish_reason: "stop", logprobs: null },
    ],
    usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  };
}

export function aChunk(content: string): ChatChunk {
  return {
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  };
}

export const contentOf = (chunk: unknown): string => (chunk as ChatChunk).choices[0]?.delta.content ?? "";

export function someUsage(fields: Partial<SettledUsage> = {}): SettledUsage {
  return {
    promptTokens: 10,
    cachedTokens: 0,
    cacheWriteTokens: 0,
    completionTokens: 5,
    reasoningTokens: 0,
    isEstimated: false,
    costNanoUsd: 1_000_000,
    costUsd: 0.001,
    ...fields,
  };
}

const base = {
  requestId: "req_1",
  at: 1_767_225_600_000,
  operation: "chat.completions",
  model: "chat",
  group: "chat",
  principal: undefined,
  tags: [],
  metadata: {},
} as const;

export function aSettledEvent(fields: Partial<SettledEvent> = {}): SettledEvent {
  return {
    ...base,
    type: "request-settled",
    isStreaming: false,
    outcome: "succeeded",
    code: undefined,
    cache: undefined,
    finishReason: "stop",
    answeredBy: undefined,
    groups: ["chat"],
    excluded: [],
    dropped: [],
    deployment: "openai/gpt@api",
    provider: "openai",
    attempts: 1,
    durationMs: 12.3456,
    ttftMs: undefined,
    usage: someUsage(),
    ...fields,
  };
}

export function anAttemptEvent(fields: Partial<AttemptEvent> = {}): AttemptEvent {
  return {
    ...base,
    type: "attempt-ended",
    isStreaming: false,
    attempt: 1,
    isHedge: false,
    resumed: false,
    attemptGroup: "chat",
    deployment: "d",
    provider: "p",
    upstreamModel: "m",
    configuredModel: "m",
    host: "api.example.com",
    outcome: "ok",
    durationMs: 5,
    ...fields,
  };
}

export function aStartedEvent(fields: Partial<RequestStartedEvent> = {}): RequestStartedEvent {
  return { ...base, type: "request-started", isStreaming: false, ...fields };
}

export function aWarning(fields: Partial<WarningEvent> = {}): WarningEvent {
  return { type: "warning-raised", at: base.at, message: "careful", ...fields };
}
