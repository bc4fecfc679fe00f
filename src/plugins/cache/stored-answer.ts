import type { Operation, Reply, RequestBody } from "../../protocol/operations.js";
import { checkReply } from "../guard-results.js";
import type { AnswerKey } from "./answer-key.js";

/** An answer that may be given again. */
export interface StoredAnswer {
  readonly reply: Reply;
  /** When it was complete: Unix milliseconds. */
  readonly at: number;
  /** It came as a stream whose caller did not ask for the usage. */
  readonly lacksUsage: boolean;
}

/** What is asked of a stored answer. */
export interface Expected {
  readonly operation: Operation;
  readonly body: Readonly<RequestBody>;
  readonly check: AnswerKey["check"];
}

/** Of the entries' format. */
const VERSION = 1;
/** How far the clocks of processes that share a store may differ. */
const CLOCK_SKEW_MS = 60_000;

export function encodeAnswer({ reply, at, lacksUsage }: StoredAnswer, { check }: AnswerKey): string {
  return JSON.stringify({ v: VERSION, check, at, lacksUsage, reply });
}

/**
 * What a store handed out, if it is the answer that was looked for. Anybody might have written it: version, digest, age and
 * shape are checked, and the reply is a copy of plain data.
 *
 * @param now - Unix milliseconds.
 */
export function decodeAnswer(text: string, expected: Expected, now: number): StoredAnswer | undefined {
  try {
    const entry: unknown = JSON.parse(text);
    if (!isRecord(entry) || entry.v !== VERSION || entry.check !== expected.check) return undefined;
    const { at, lacksUsage } = entry;
    if (typeof at !== "number" || !(at <= now + CLOCK_SKEW_MS) || typeof lacksUsage !== "boolean") return undefined;
    const reply = checkReply(entry.reply, expected.operation);
    return isWholeAnswer(reply, expected.operation, expected.body) ? { reply, at, lacksUsage } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether a reply is all that the request asked for, and nothing of it depends on the moment: partial, filtered and failed
 * answers are never stored (S39).
 */
export function isWholeAnswer(reply: Reply, operation: Operation, body: Readonly<RequestBody>): boolean {
  const fields = reply as unknown as Record<string, unknown>; // it may come from a store: nothing is known of it
  const asked = body as unknown as Record<string, unknown>; // the fields of a body by name
  if (typeof fields.model !== "string" || !isUsage(fields.usage)) return false;
  if (operation === "embeddings") return hasAllVectors(fields.data, asked.input);
  const { choices } = fields;
  if (typeof fields.id !== "string" || typeof fields.created !== "number" || !Array.isArray(choices)) return false;
  const wanted = typeof asked.n === "number" ? asked.n : 1;
  if (choices.length === 0 || choices.length < wanted) return false;
  // An answer that ends at the caller's own limit is what was asked for; one that ends at another's is cut short.
  const isBounded = [asked.max_completion_tokens, asked.max_tokens].some((limit) => typeof limit === "number");
  return choices.every(
    (choice) =>
      isRecord(choice) &&
      Number.isSafeInteger(choice.index) &&
      isEnd(choice.finish_reason, isBounded) &&
      isObjectOrNull(choice.logprobs) &&
      (operation === "completions" ? typeof choice.text === "string" : isMessage(choice.message)),
  );
}

function isEnd(reason: unknown, isBounded: boolean): boolean {
  return (
    reason === "stop" || reason === "tool_calls" || reason === "function_call" || (reason === "length" && isBounded)
  );
}

function isMessage(message: unknown): boolean {
  return (
    isRecord(message) &&
    isTextOrNull(message.content) &&
    isTextOrNull(message.refusal) &&
    isTextOrNull(message.reasoning_content) &&
    isListOrNull(message.tool_calls) &&
    isListOrNull(message.reasoning_details) &&
    isObjectOrNull(message.function_call) &&
    // Speech can be referred to by its id, for an hour or so.
    (message.audio === undefined || message.audio === null)
  );
}

function hasAllVectors(data: unknown, input: unknown): boolean {
  if (!Array.isArray(data)) return false;
  const isOne = typeof input === "string" || (Array.isArray(input) && typeof input[0] === "number");
  const wanted = isOne ? 1 : Array.isArray(input) ? input.length : 0;
  if (data.length === 0 || data.length !== wanted) return false;
  return data.every((item) => {
    if (!isRecord(item) || !Number.isSafeInteger(item.index)) return false;
    const { embedding } = item;
    return typeof embedding === "string" || (Array.isArray(embedding) && embedding.every(Number.isFinite));
  });
}

function isUsage(usage: unknown): boolean {
  if (usage === undefined || usage === null) return true;
  return isRecord(usage) && Number.isFinite(usage.prompt_tokens) && Number.isFinite(usage.total_tokens);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
const isTextOrNull = (value: unknown) => value === undefined || value === null || typeof value === "string";
const isObjectOrNull = (value: unknown) => value === undefined || value === null || isRecord(value);
const isListOrNull = (value: unknown) =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isRecord));
