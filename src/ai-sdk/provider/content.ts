import type { ChatCompletion, ReplyMessage } from "../../protocol/chat.js";
import { metadata } from "./metadata.js";
import type { ProducedContent, ProducedSource } from "./produced.js";

/** The first choice of a completion as content. */
export function contentOf({ id, choices }: ChatCompletion): ProducedContent[] {
  const message = choices[0]?.message;
  if (!message) return [];
  const { content, refusal, reasoning_content, reasoning_details, tool_calls } = message;
  const parts: ProducedContent[] = [];
  if (reasoning_content || reasoning_details?.length) {
    const reasoning = { type: "reasoning" as const, text: reasoning_content ?? "" };
    parts.push(
      reasoning_details?.length
        ? { ...reasoning, providerMetadata: metadata("reasoningDetails", reasoning_details) }
        : reasoning,
    );
  }
  if (content) parts.push({ type: "text", text: content });
  // The SDK has no refusals of its own; the finish reason tells it from an answer.
  if (refusal) parts.push({ type: "text", text: refusal });
  for (const call of tool_calls ?? []) {
    if (call.type !== "function") continue;
    const { arguments: input, name: toolName } = call.function;
    const part: ProducedContent = { type: "tool-call", toolCallId: call.id, toolName, input: input || "{}" };
    if ("extra_content" in call) part.providerMetadata = metadata("extraContent", call.extra_content);
    parts.push(part);
  }
  parts.push(...sourcesOf(message.annotations, id, 0));
  return parts;
}

/** @param from - How many sources the answer has had before. */
export function sourcesOf(annotations: ReplyMessage["annotations"], id: string, from: number): ProducedSource[] {
  if (!Array.isArray(annotations)) return [];
  return annotations.flatMap((annotation, position): ProducedSource[] => {
    const { url, title } = annotation?.url_citation ?? {};
    if (typeof url !== "string") return [];
    const source: ProducedSource = { type: "source", sourceType: "url", id: `${id}-source-${from + position}`, url };
    return [typeof title === "string" ? { ...source, title } : source];
  });
}
