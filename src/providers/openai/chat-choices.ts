import type { ErrorClass } from "../../errors/upstream-error.js";
import type { AttemptContext } from "../provider.js";
import { isJsonObject, type JsonObject, textOf } from "../shared/json-object.js";
import type { AnswerFacts } from "./facts.js";
import { failureOf, finishReasonOf } from "./finish-reason.js";
import type { RepairedChoice } from "./repaired-choice.js";
import type { ChoiceShape, StreamedChoice } from "./stream.js";
import { StreamedCalls } from "./tool-calls.js";

/** A streamed choice of a chat completion, and what the repair of its deltas must remember. */
export interface ChatChoiceState extends StreamedChoice {
  readonly calls: StreamedCalls;
}

/** Members of a choice that the rules place; all others pass (repair R12). */
const PLACED: ReadonlySet<string> = new Set(["index", "delta", "finish_reason", "logprobs", "__proto__"]);

/** Chat completions: repairs R5–R12 of one choice of one event. */
export function chatChoices(facts: AnswerFacts | undefined, context: AttemptContext): ChoiceShape<ChatChoiceState> {
  return {
    object: "chat.completion.chunk",
    idPrefix: "chatcmpl-",
    textPlace: "delta",
    open(index) {
      const calls = new StreamedCalls();
      return { index, isFinished: false, calls, continues: (callIndex) => calls.continues(callIndex) };
    },

    repair(raw, state, isFirst, made) {
      const { index } = state;
      const before = made.length;
      // Wire S1: each choice begins with its role, and only there.
      if (isFirst) made.push(choiceOf(index, { role: "assistant", content: "" }));
      const afterRole = made.length;

      if (isJsonObject(raw.delta)) {
        facts?.repairMessage?.(raw.delta);
        pushDeltas(raw.delta, state, context, made);
      }
      const failure: ErrorClass | undefined = failureOf(raw.finish_reason);
      if (failure === undefined && !state.isFinished) {
        const finishReason = finishReasonOf(raw.finish_reason, state.calls.any);
        if (finishReason !== undefined) {
          state.isFinished = true;
          made.push({ index, delta: {}, finish_reason: finishReason });
        }
      }
      if (context.wantsLogprobs) placeLogprobs(raw.logprobs, index, made, afterRole);
      placeOthers(raw, index, made, before);
      return failure;
    },

    summarise(choice, summary) {
      const { delta } = choice;
      if (!delta) return false;
      let isContent = choice.finish_reason !== null;
      const content = textOf(delta.content);
      if (content !== undefined) {
        summary.addText(choice.index, content);
        isContent = true;
      }
      const reasoning = textOf(delta.reasoning_content);
      if (reasoning !== undefined) {
        summary.addReasoning(reasoning.length);
        isContent = true;
      }
      const refusal = textOf(delta.refusal);
      if (refusal !== undefined) {
        summary.outputLength += refusal.length;
        isContent = true;
      }
      if (delta.tool_calls !== undefined) {
        summary.outputLength += argumentsLength(delta.tool_calls);
        isContent = true;
      }
      if (isJsonObject(delta.function_call)) {
        summary.outputLength += textOf(delta.function_call.arguments)?.length ?? 0;
        isContent = true;
      }
      if (delta.reasoning_details !== undefined) {
        summary.hasReasoning = true;
        isContent = true;
      }
      return isContent || delta.audio !== undefined;
    },
  };
}

function choiceOf(index: number, delta: JsonObject): RepairedChoice {
  return { index, delta, finish_reason: null };
}

/** Repairs R6, R7 and R9: what is left of a delta, split where a tool call begins with its arguments. */
function pushDeltas(raw: JsonObject, state: ChatChoiceState, { random }: AttemptContext, made: RepairedChoice[]): void {
  const deltas = new DeltaSplitter(state.index, membersOf(raw), made);
  const { tool_calls: calls } = raw;
  // Older TGI sends one object instead of a list.
  for (const entry of Array.isArray(calls) ? calls : [calls]) {
    const step = isJsonObject(entry) ? state.calls.step(entry, random) : undefined;
    if (!step) continue;
    deltas.addCall(step.delta);
    if (step.kind === "header" && step.fragment) deltas.pushAlone(step.fragment);
  }
  deltas.push();
}

/** A delta without its role and calls, and without what says nothing (repairs R5, R6, R7). */
function membersOf(raw: JsonObject): JsonObject {
  const delta: JsonObject = {};
  for (const key of Object.keys(raw)) {
    const value = raw[key];
    if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    switch (key) {
      case "role":
      case "token_id":
      case "tool_calls":
      case "__proto__":
        continue;
      case "content":
        if (value === "") continue;
        break;
      case "reasoning":
      case "reasoning_content":
        if (typeof value === "string") continue;
    }
    delta[key] = value;
  }
  const reasoning = reasoningOf(raw);
  if (reasoning !== undefined) delta.reasoning_content = reasoning;
  return delta;
}

/** Puts tool calls into deltas: together as they came, but a call's beginning and its arguments apart (wire S2). */
class DeltaSplitter {
  readonly #index: number;
  readonly #made: RepairedChoice[];
  #delta: JsonObject;
  #calls: JsonObject[] | undefined;

  constructor(index: number, delta: JsonObject, made: RepairedChoice[]) {
    this.#index = index;
    this.#delta = delta;
    this.#made = made;
  }

  addCall(call: JsonObject): void {
    if (this.#calls?.some(({ index }) => index === call.index)) this.push();
    if (this.#calls) this.#calls.push(call);
    else this.#delta.tool_calls = this.#calls = [call];
  }

  /** Ends the delta, and makes one of this fragment alone. */
  pushAlone(fragment: JsonObject): void {
    this.push();
    this.addCall(fragment);
    this.push();
  }

  /** Ends the delta; an empty one makes no chunk (repair R6). */
  push(): void {
    if (Object.keys(this.#delta).length > 0) this.#made.push(choiceOf(this.#index, this.#delta));
    this.#delta = {};
    this.#calls = undefined;
  }
}

/** `reasoning` is another name of `reasoning_content`, which wins (repair R5). */
function reasoningOf(message: JsonObject): string | undefined {
  return textOf(message.reasoning_content) ?? textOf(message.reasoning);
}

/**
 * Repair R8: with the first chunk that is not the role chunk. Tokens without text of their own, such as the first half
 * of a character, have logprobs and nothing else: they get a chunk, or the list would have a gap.
 */
function placeLogprobs(logprobs: unknown, index: number, made: RepairedChoice[], afterRole: number): void {
  if (logprobs === undefined) return;
  if (made.length === afterRole) {
    if (logprobs === null) return;
    made.push(choiceOf(index, {}));
  }
  const first = made[afterRole];
  if (!first) return;
  // Before the finish reason, where OpenAI has them.
  const { delta = {}, finish_reason } = first;
  made[afterRole] = { index, delta, logprobs, finish_reason };
}

/** Repair R12: a choice's own members go with the last chunk made from it. */
function placeOthers(raw: JsonObject, index: number, made: RepairedChoice[], before: number): void {
  for (const key of Object.keys(raw)) {
    const value = raw[key];
    if (value === null || value === undefined || PLACED.has(key)) continue;
    if (made.length === before) made.push(choiceOf(index, {}));
    const last = made.at(-1);
    if (last) last[key] = value;
  }
}

function argumentsLength(calls: unknown): number {
  let length = 0;
  for (const call of Array.isArray(calls) ? calls : []) {
    const text: unknown = call?.function?.arguments ?? call?.custom?.input;
    if (typeof text === "string") length += text.length;
  }
  return length;
}
