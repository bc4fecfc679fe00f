import { isJsonObject, type JsonObject, textOf } from "../../providers/shared/json-object.js";

/**
 * What a provider wants back unchanged on the next turn travels through OpenAI's format in the forms of wire C5 and C6,
 * so that another deployment of the same vendor understands it; whatever has no such form travels as it is, under this
 * name.
 */
export const CARRIED = "ai-sdk";
const ANTHROPIC_FORMAT = "anthropic-claude-v1";

/** The details of one block of reasoning. @param metadata - The block's `providerMetadata`. */
export function reasoningDetail(metadata: JsonObject, text: string, index: number): JsonObject {
  const { anthropic } = metadata;
  if (isJsonObject(anthropic)) {
    const { signature, redactedData } = anthropic;
    if (typeof redactedData === "string") {
      return { type: "reasoning.encrypted", data: redactedData, format: ANTHROPIC_FORMAT, index };
    }
    if (typeof signature === "string") {
      return { type: "reasoning.text", text, signature, format: ANTHROPIC_FORMAT, index };
    }
  }
  return { type: "reasoning.text", text, format: CARRIED, index, provider_metadata: metadata };
}

/** A block of reasoning for the prompt. @returns `undefined`: the detail is another vendor's. */
export function reasoningPart(detail: unknown): JsonObject | undefined {
  if (!isJsonObject(detail)) return undefined;
  const text = textOf(detail.text) ?? "";
  if (detail.format === CARRIED && isJsonObject(detail.provider_metadata)) {
    return { type: "reasoning", text, providerOptions: detail.provider_metadata };
  }
  if (detail.format !== ANTHROPIC_FORMAT) return undefined;
  const signed = textOf(detail.signature);
  const redacted = textOf(detail.data);
  if (redacted !== undefined) {
    return { type: "reasoning", text: "", providerOptions: { anthropic: { redactedData: redacted } } };
  }
  return signed === undefined
    ? undefined
    : { type: "reasoning", text, providerOptions: { anthropic: { signature: signed } } };
}

/** `extra_content` of a tool call. @param metadata - The call's `providerMetadata`. */
export function extraContentOf(metadata: unknown): JsonObject | undefined {
  if (!isJsonObject(metadata) || Object.keys(metadata).length === 0) return undefined;
  const signature = isJsonObject(metadata.google) ? metadata.google.thoughtSignature : undefined;
  const extra: JsonObject = { [CARRIED]: metadata };
  if (typeof signature === "string") extra.google = { thought_signature: signature };
  return extra;
}

/** `providerOptions` of a tool call in the prompt. */
export function callOptionsOf(extraContent: unknown): JsonObject | undefined {
  if (!isJsonObject(extraContent)) return undefined;
  const carried = extraContent[CARRIED];
  if (isJsonObject(carried)) return carried;
  const signature = isJsonObject(extraContent.google) ? extraContent.google.thought_signature : undefined;
  return typeof signature === "string" ? { google: { thoughtSignature: signature } } : undefined;
}
