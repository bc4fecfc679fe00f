import type { ChatChoice } from "../protocol/chat.js";
import type { CompletionChoice } from "../protocol/completions.js";
import type { Reply } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";
import { checkedUsage } from "../tokens/usage-check.js";
import type { RequestState } from "./request.js";

/**
 * The usage of a reply of any operation; embeddings have no output tokens.
 *
 * @returns `undefined`: none was reported. Embeddings always have a usage, of 0 where the upstream said nothing.
 */
export function usageOf(reply: Reply): Usage | undefined {
  const { usage } = reply;
  if (!usage || (!("completion_tokens" in usage) && usage.prompt_tokens === 0)) return undefined;
  return "completion_tokens" in usage ? usage : { ...usage, completion_tokens: 0 };
}

/** UTF-16 units per token, where the upstream reports no usage. */
const UNITS_PER_TOKEN = 4;

/** @param outputLength - UTF-16 units. */
export function estimatedUsage(promptTokens: number, outputLength: number): Usage {
  const prompt = Math.ceil(promptTokens);
  const completion = Math.ceil(outputLength / UNITS_PER_TOKEN);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

/** What a stream has used: as far as the upstream says so, and where that can be true. */
export function checkedUsageOf(
  { promptTokens }: RequestState,
  reported: Usage | undefined,
  outputLength: number,
): Usage {
  return checkedUsage(reported, estimatedUsage(promptTokens, outputLength)).usage;
}

/** UTF-16 units of text, reasoning, refusals and tool arguments, for where the upstream counts nothing. */
export function outputLengthOf(reply: Reply): number {
  if (!("choices" in reply)) return 0;
  let length = 0;
  for (const choice of reply.choices) length += choiceLength(choice);
  return length;
}

function choiceLength(choice: ChatChoice | CompletionChoice): number {
  if ("text" in choice) return choice.text.length;
  const { content, refusal, reasoning_content, tool_calls } = choice.message;
  let length = (content?.length ?? 0) + (refusal?.length ?? 0) + (reasoning_content?.length ?? 0);
  for (const call of tool_calls ?? []) {
    length += call.type === "custom" ? call.custom.input.length + 1 : call.function.arguments.length + 1;
  }
  return length;
}

/** What the next turn repeats of the first choice: its text, unless reasoning came before it, which templates leave out. */
export function repeatedTextOf(reply: Reply): string {
  const first = "choices" in reply ? reply.choices[0] : undefined;
  if (!first) return "";
  if ("text" in first) return first.text;
  return first.message.reasoning_content || first.message.reasoning_details?.length
    ? ""
    : (first.message.content ?? "");
}

/** The finish reason of the first choice. */
export function finishReasonOf(reply: Reply): string | undefined {
  return "choices" in reply ? reply.choices[0]?.finish_reason : undefined;
}
