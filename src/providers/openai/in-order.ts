import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { isUsageInOrder } from "../shared/usage.js";
import { joinContentParts } from "./facts/content-parts.js";
import type { AnswerFacts } from "./facts.js";
import { failureOf, finishReasonOf } from "./finish-reason.js";

/** The highest index of a choice (S30). */
const MAX_INDEX = 127;

/**
 * Whether no repair rule has anything to do in a chat completion: then it is passed on as it came. A plain text of OpenAI's
 * own is such an answer; whatever is not worth a look of its own, such as tool calls, counts as out of order.
 */
export function isInOrder(reply: JsonObject, facts: AnswerFacts | undefined): boolean {
  const { id, object, created, model, choices } = reply;
  if (object !== "chat.completion" || textOf(id) === undefined || textOf(model) === undefined) return false;
  if (typeof created !== "number" || !Number.isSafeInteger(created) || created < 1) return false;
  if (!Array.isArray(choices) || choices.length === 0 || "error" in reply || hasNulls(reply)) return false;
  for (const choice of choices) if (!isJsonObject(choice) || !isChoiceInOrder(choice, facts)) return false;
  return !("usage" in reply) || isUsageInOrder(reply.usage);
}

function isChoiceInOrder(choice: JsonObject, facts: AnswerFacts | undefined): boolean {
  const { index, message, finish_reason: finishReason } = choice;
  if (typeof index !== "number" || !Number.isInteger(index) || index < 0 || index > MAX_INDEX) return false;
  if (!("logprobs" in choice) || "error" in choice || hasNulls(choice, "logprobs")) return false;
  if (failureOf(finishReason) !== undefined || finishReasonOf(finishReason, false) !== finishReason) return false;
  return finishReason !== undefined && isJsonObject(message) && isMessageInOrder(message, facts);
}

function isMessageInOrder(message: JsonObject, facts: AnswerFacts | undefined): boolean {
  const { role, content, reasoning_content: reasoning } = message;
  if (role !== "assistant" || !("refusal" in message) || "tool_calls" in message) return false;
  if (content !== null && typeof content !== "string") return false;
  if ("reasoning" in message || reasoning === "" || hasNulls(message, "content", "refusal")) return false;
  // Of others it is not known what they look at; this one has no parts to join.
  return facts?.repairMessage === undefined || facts.repairMessage === joinContentParts;
}

/** Whether a member is null that need not be there. */
function hasNulls(object: JsonObject, wanted?: string, alsoWanted?: string): boolean {
  for (const key in object) if (object[key] === null && key !== wanted && key !== alsoWanted) return true;
  return false;
}
