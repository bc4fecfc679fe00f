import type { ChatChunk } from "../../src/protocol/chat.js";
import type { ReplyStream } from "../../src/router/reply-stream.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import type { FakeUpstream } from "../../src/testing/fake-upstream.js";

export const HELLO = [{ role: "user" as const, content: "Hello" }];

/** A deployment of a fake upstream. */
export function deploymentOf(upstream: FakeUpstream, id: string, more: object = {}) {
  return { id, provider: "openai-compatible" as const, baseUrl: upstream.url, model: "m", ...more };
}

/** A router with one group `chat`; each upstream is a tier of its own, so that they are tried in order. */
export function routerInOrder(
  upstreams: readonly FakeUpstream[],
  group: Partial<GroupOptions> = {},
  options: Partial<RouterOptions> = {},
): Router<"chat"> {
  const deployments = upstreams.map((upstream, tier) => deploymentOf(upstream, `d${tier}`, { tier }));
  return new Router({ ...options, models: { chat: { ...group, deployments } } });
}

export interface Delivered {
  readonly chunks: readonly ChatChunk[];
  readonly text: string;
  readonly finishReason: string | undefined;
  /** What the iterator threw. */
  readonly error: unknown;
}

/** Reads a stream to its end, whatever that is. */
export async function deliver(stream: ReplyStream<ChatChunk>): Promise<Delivered> {
  const chunks: ChatChunk[] = [];
  let error: unknown;
  try {
    for await (const chunk of stream) chunks.push(chunk);
  } catch (thrown) {
    error = thrown;
  }
  return {
    chunks,
    text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
    finishReason: chunks.map((chunk) => chunk.choices[0]?.finish_reason).find((reason) => reason != null) ?? undefined,
    error,
  };
}

/** The error that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`Expected a rejection, got ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}
