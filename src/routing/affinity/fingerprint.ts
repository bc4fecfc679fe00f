import { sha256Hex } from "../../internal/digest.js";
import type { ChatRequest } from "../../protocol/chat.js";
import type { CompletionRequest } from "../../protocol/completions.js";

/** Whose conversation it is: the same words of another tenant, or to another model, are another conversation. */
export interface ConversationOwner {
  readonly tenant: string | undefined;
  /** As the caller named it. */
  readonly model: string;
}

/** Characters of each text that are looked at. */
const LONGEST_TEXT = 16_384;

/**
 * What stays the same over the turns of a conversation, in every process: its system prompt with its first question.
 * A digest, so that a store that several processes share learns nothing of what was said.
 *
 * @returns 32 hexadecimal digits; `undefined` where nobody has asked anything.
 */
export function fingerprintOfChat(body: ChatRequest, { tenant, model }: ConversationOwner): string | undefined {
  const texts: unknown[] = ["chat", tenant ?? null, model];
  for (const { role, content } of body.messages) {
    const isQuestion = role === "user";
    if (!isQuestion && role !== "system" && role !== "developer") continue;
    addTexts(texts, content);
    if (isQuestion) return digest(texts);
  }
  return undefined;
}

/** A prompt that grows begins as it began. @returns `undefined` for prompts too short to tell. */
export function fingerprintOfCompletion(
  { prompt }: CompletionRequest,
  { tenant, model }: ConversationOwner,
): string | undefined {
  const first: unknown = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt[0] : prompt;
  const beginning = typeof first === "string" ? first.slice(0, 512) : Array.isArray(first) ? first.slice(0, 128) : [];
  const isLongEnough = beginning.length >= (typeof beginning === "string" ? 512 : 128);
  return isLongEnough ? digest(["completion", tenant ?? null, model, beginning]) : undefined;
}

/** The caller says itself what belongs together. */
export function fingerprintOfSession(sessionId: string, { tenant, model }: ConversationOwner): string {
  return digest(["session", tenant ?? null, model, sessionId]);
}

/** For strategies: the same number for the same fingerprint, 0 to 2^52 - 1. */
export function numberOf(fingerprint: string): number {
  return Number.parseInt(fingerprint.slice(0, 13), 16);
}

/** Some messages before an answer: has anybody answered yet? */
export function isContinued({ messages }: ChatRequest): boolean {
  return messages.some(({ role }) => role === "assistant");
}

function addTexts(texts: unknown[], content: unknown): void {
  if (!Array.isArray(content)) {
    if (typeof content === "string") texts.push(content.length, content.slice(0, LONGEST_TEXT));
    return;
  }
  for (const part of content as readonly { readonly type: string; readonly text?: unknown }[]) {
    // Media of a question are told apart by their kind only: the texts around them nearly always differ.
    texts.push(part.type);
    addTexts(texts, part.text);
  }
}

function digest(texts: readonly unknown[]): string {
  return sha256Hex(JSON.stringify(texts)).slice(0, 32);
}
