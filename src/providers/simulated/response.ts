import { type Random, randomId } from "../../internal/random.js";
import type { ChatCompletion, ReplyMessage } from "../../protocol/chat.js";
import type { Completion, CompletionChoice } from "../../protocol/completions.js";
import type { EmbeddingReply } from "../../protocol/embeddings.js";
import type { Usage } from "../../protocol/usage.js";
import { encodeBase64, vectorOf } from "./embedding.js";
import { type AnswerPlan, type EmbeddingInput, outputTokens, type PlannedChoice } from "./request.js";

/** What all parts of one answer have in common. */
export interface AnswerIdentity {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly random: Random;
}

export function usageOf(plan: AnswerPlan): Usage {
  const completionTokens = outputTokens(plan);
  const reasoningTokens = plan.choices.reduce((sum, { reasoning }) => sum + reasoning.length, 0);
  const usage: Usage = {
    prompt_tokens: plan.promptTokens,
    completion_tokens: completionTokens,
    total_tokens: plan.promptTokens + completionTokens,
  };
  if (reasoningTokens > 0) usage.completion_tokens_details = { reasoning_tokens: reasoningTokens };
  return usage;
}

export function chatReply(plan: AnswerPlan, { id, created, model, random }: AnswerIdentity): ChatCompletion {
  return {
    id,
    object: "chat.completion",
    created,
    model,
    choices: plan.choices.map((choice, index) => ({
      index,
      message: messageOf(choice, random),
      finish_reason: choice.finishReason ?? "stop",
      logprobs: null,
    })),
    usage: usageOf(plan),
  };
}

function messageOf({ reasoning, text, toolCalls }: PlannedChoice, random: Random): ReplyMessage {
  const message: ReplyMessage = {
    role: "assistant",
    content: text.length > 0 || toolCalls.length === 0 ? text.join("") : null,
    refusal: null,
  };
  if (reasoning.length > 0) message.reasoning_content = reasoning.join("");
  if (toolCalls.length > 0) {
    message.tool_calls = toolCalls.map((call) => ({
      id: call.id ?? toolCallId(random),
      type: "function",
      function: { name: call.name, arguments: call.arguments.join("") },
    }));
  }
  return message;
}

export function toolCallId(random: Random): string {
  return randomId(random, "call_");
}

export function completionReply(plan: AnswerPlan, { id, created, model }: AnswerIdentity): Completion {
  return {
    id,
    object: "text_completion",
    created,
    model,
    choices: plan.choices.map(({ echoed, text, finishReason }, index) => ({
      index,
      text: (echoed ?? "") + text.join(""),
      finish_reason: completionFinishReason(finishReason) ?? "stop",
      logprobs: null,
    })),
    usage: usageOf(plan),
  };
}

/** Legacy completions know fewer reasons. */
export function completionFinishReason(
  reason: PlannedChoice["finishReason"],
): CompletionChoice["finish_reason"] | null {
  return reason === null || reason === "length" || reason === "content_filter" ? reason : "stop";
}

/** @param isBase64 - The caller wants vectors as text. */
export function embeddingReply(
  inputs: readonly EmbeddingInput[],
  dimensions: number,
  isBase64: boolean,
  model: string,
): EmbeddingReply {
  const promptTokens = inputs.reduce((sum, { tokens }) => sum + tokens, 0);
  return {
    object: "list",
    data: inputs.map(({ text }, index) => {
      const vector = vectorOf(text, dimensions);
      // With `encoding_format: "base64"` OpenAI puts text where the type says numbers.
      const embedding = isBase64 ? (encodeBase64(vector) as unknown as number[]) : vector;
      return { object: "embedding", index, embedding };
    }),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}
