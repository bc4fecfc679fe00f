import type { RequestContent } from "../plugins/plugin.js";
import type { AssistantMessage, ChatMessage, ReplyMessage } from "../protocol/chat.js";
import type { Operation } from "../protocol/operations.js";

/** @see https://opentelemetry.io/docs/specs/semconv/gen-ai/ */
export const OPERATION_NAMES: Readonly<Record<Operation, string>> = {
  "chat.completions": "chat",
  completions: "text_completion",
  embeddings: "embeddings",
};

/** Well-known names of the conventions, where ours differ. */
const PROVIDER_NAMES: ReadonlyMap<string, string> = new Map([
  ["azure", "azure.ai.openai"],
  ["bedrock", "aws.bedrock"],
  ["gemini", "gcp.gemini"],
  ["mistral", "mistral_ai"],
]);

export const providerName = (provider: string) => PROVIDER_NAMES.get(provider) ?? provider;

/** `gpu-a:8000` as address and port. */
export function serverOf(host: string): { readonly address: string; readonly port: number | undefined } {
  const match = /^(.+):(\d+)$/.exec(host);
  return match ? { address: match[1] ?? host, port: Number(match[2]) } : { address: host, port: undefined };
}

interface Part {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface GenAiMessages {
  readonly input: unknown;
  readonly output: unknown;
}

/** What was asked and answered, as the conventions shape messages. */
export function genAiMessages({ input, output }: RequestContent): GenAiMessages {
  return { input: inputMessages(input), output: output && outputMessages(output) };
}

function inputMessages(input: RequestContent["input"]): unknown {
  if ("messages" in input) {
    return input.messages.map((message) => ({ role: message.role, parts: partsOf(message) }));
  }
  const texts = "prompt" in input ? input.prompt : "input" in input ? input.input : undefined;
  const list = Array.isArray(texts) ? texts : [texts];
  // Token ids say nothing to a reader.
  return list.flatMap((text) => (typeof text === "string" ? [{ role: "user", parts: [textPart(text)] }] : []));
}

function outputMessages(output: NonNullable<RequestContent["output"]>): unknown {
  if (!("choices" in output)) return undefined;
  return output.choices.map((choice) => ({
    role: "assistant",
    parts: "message" in choice ? partsOf(choice.message) : [textPart(choice.text)],
    finish_reason: choice.finish_reason ?? "error",
  }));
}

const textPart = (content: string): Part => ({ type: "text", content });

function partsOf(message: ChatMessage | ReplyMessage): Part[] {
  const texts: Part[] = contentParts(message.content);
  if (message.role === "tool") {
    return [{ type: "tool_call_response", id: message.tool_call_id, response: textOf(texts) }];
  }
  if (message.role !== "assistant") return texts;
  return [...reasoningParts(message), ...texts, ...callParts(message)];
}

function reasoningParts({ reasoning_content: content }: AssistantMessage | ReplyMessage): Part[] {
  return content ? [{ type: "reasoning", content }] : [];
}

function callParts({ tool_calls: calls, refusal }: AssistantMessage | ReplyMessage): Part[] {
  const parts: Part[] = refusal ? [textPart(refusal)] : [];
  for (const call of calls ?? []) {
    const isCustom = call.type === "custom";
    parts.push({
      type: "tool_call",
      id: call.id,
      name: isCustom ? call.custom.name : call.function.name,
      arguments: isCustom ? call.custom.input : call.function.arguments,
    });
  }
  return parts;
}

function contentParts(content: ChatMessage["content"]): Part[] {
  if (typeof content === "string") return [textPart(content)];
  return (content ?? []).map((part): Part => {
    if (part.type === "text") return textPart(part.text);
    if (part.type === "refusal") return textPart(part.refusal);
    // Pictures, sound and files: that there was one, not its bytes.
    return { type: part.type };
  });
}

const textOf = (parts: readonly Part[]) => parts.map(({ content }) => content).join("");
