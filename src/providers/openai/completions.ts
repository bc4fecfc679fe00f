import { type JsonObject, removeNulls } from "../shared/json-object.js";
import { failureOf, finishReasonOf } from "./finish-reason.js";
import type { RepairedChoice } from "./repaired-choice.js";
import type { ChoiceShape, StreamedChoice } from "./stream.js";

/** Legacy completions end in fewer ways: they call no tools. */
function completionFinish(value: unknown): string | undefined {
  const reason = finishReasonOf(value, false);
  return reason === "length" || reason === "content_filter" || reason === undefined ? reason : "stop";
}

const PLACED: ReadonlySet<string> = new Set(["index", "text", "logprobs", "finish_reason", "__proto__"]);

/** Legacy completions in a stream: one chunk per choice of an event, text and finish reason together. */
export const completionChoices: ChoiceShape<StreamedChoice> = {
  object: "text_completion",
  idPrefix: "cmpl-",
  textPlace: "choice",
  open: (index) => ({ index, isFinished: false }),

  repair(raw, state, _isFirst, made) {
    const { text } = raw;
    const finishReason = state.isFinished ? undefined : completionFinish(raw.finish_reason);
    if (finishReason !== undefined) state.isFinished = true;
    const choice: RepairedChoice = {
      index: state.index,
      text: typeof text === "string" ? text : "",
      logprobs: raw.logprobs ?? null,
      finish_reason: failureOf(raw.finish_reason) === undefined ? (finishReason ?? null) : null,
    };
    let hasOthers = false;
    for (const key of Object.keys(raw)) {
      const value = raw[key];
      if (value === null || value === undefined || PLACED.has(key)) continue;
      choice[key] = value;
      hasOthers = true;
    }
    // An event that says nothing of this choice makes no chunk (repair R6 in spirit).
    if (choice.text !== "" || choice.finish_reason !== null || choice.logprobs !== null || hasOthers) made.push(choice);
    return failureOf(raw.finish_reason);
  },

  summarise(choice, summary) {
    const { text = "" } = choice;
    summary.addText(choice.index, text);
    return text !== "" || choice.finish_reason !== null;
  },
};

/** Repairs one choice of a whole legacy completion, in place. */
export function repairCompletionChoice(choice: JsonObject): void {
  removeNulls(choice, "logprobs", "finish_reason");
  if (typeof choice.text !== "string") choice.text = "";
  choice.finish_reason = completionFinish(choice.finish_reason) ?? "stop";
  choice.logprobs ??= null;
}
