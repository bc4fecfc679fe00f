import { badResponse } from "../../errors/upstream-error.js";
import type { ChoiceLogprobs, TokenLogprob } from "../../protocol/chat.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import { argumentsText } from "../shared/tool-call.js";
import { REASONING_FORMAT } from "./parts.js";

/** A function call of an answer. */
export interface CandidateCall {
  readonly id: string | undefined;
  readonly name: string;
  /** JSON text (wire C8). */
  readonly arguments: string;
  /** With the thought signature (wire C6). */
  readonly extraContent: JsonObject | undefined;
}

/** Takes what the parts of one candidate say, in order. */
export interface PartSink {
  text(text: string): void;
  reasoning(text: string): void;
  reasoningDetail(detail: JsonObject): void;
  call(call: CandidateCall): void;
  /** In the form that OpenRouter gives images: OpenAI's API has none. */
  image(image: JsonObject): void;
}

/** The parts of a candidate; there may be none, as when all tokens were spent on thinking. */
export function partsOf({ content }: JsonObject): readonly unknown[] {
  return isJsonObject(content) && Array.isArray(content.parts) ? content.parts : [];
}

/**
 * @param position - Of the part within its candidate.
 * @throws {UpstreamError} bad response: the part is no object.
 */
export function readPart(part: unknown, position: number, sink: PartSink): void {
  if (!isJsonObject(part)) throw badResponse("a part of the answer is no object");
  const signature = textOf(part.thoughtSignature);
  if (isJsonObject(part.functionCall)) {
    sink.call(callOf(part.functionCall, signature));
    return;
  }
  const text = textOf(part.text);
  if (text !== undefined) {
    if (part.thought === true) sink.reasoning(text);
    else sink.text(text);
  }
  if (signature !== undefined) {
    sink.reasoningDetail({
      type: "reasoning.encrypted",
      data: signature,
      format: REASONING_FORMAT,
      index: position,
    });
  }
  if (isJsonObject(part.inlineData)) readMedia(part.inlineData, sink);
  // Code that the service ran and its output have no place in OpenAI's form.
}

function callOf(call: JsonObject, signature: string | undefined): CandidateCall {
  return {
    id: textOf(call.id),
    name: textOf(call.name) ?? "",
    arguments: argumentsText(call.args) || "{}",
    extraContent: signature === undefined ? undefined : { google: { thought_signature: signature } },
  };
}

function readMedia({ mimeType, data }: JsonObject, sink: PartSink): void {
  if (typeof mimeType !== "string" || typeof data !== "string" || !mimeType.startsWith("image/")) return;
  sink.image({ type: "image_url", image_url: { url: `data:${mimeType};base64,${data}` } });
}

/** The service tells no bytes of its tokens. */
export function logprobsOf({ logprobsResult: result }: JsonObject): ChoiceLogprobs | undefined {
  if (!isJsonObject(result) || !Array.isArray(result.chosenCandidates)) return undefined;
  const tops: readonly unknown[] = Array.isArray(result.topCandidates) ? result.topCandidates : [];
  const content = result.chosenCandidates.map((chosen: unknown, index): TokenLogprob => {
    const top = tops[index];
    const others: readonly unknown[] = isJsonObject(top) && Array.isArray(top.candidates) ? top.candidates : [];
    return { ...tokenOf(chosen), top_logprobs: others.map(tokenOf) };
  });
  return { content, refusal: null };
}

function tokenOf(candidate: unknown): Omit<TokenLogprob, "top_logprobs"> {
  const { token, logProbability } = isJsonObject(candidate) ? candidate : {};
  return {
    token: textOf(token) ?? "",
    logprob: typeof logProbability === "number" ? logProbability : 0,
    bytes: null,
  };
}
