import type { Deployment } from "../deployments/deployment.js";
import type { ChatMessage, ChatRequest } from "../protocol/chat.js";
import { Feature } from "../protocol/features.js";
import type { RequestBody } from "../protocol/operations.js";
import { Continuation } from "./continuation.js";
import type { RequestState } from "./request.js";
import type { GroupState } from "./runtime.js";

/** What makes an answer more than one plain text. */
const NOT_PLAIN =
  Feature.tools |
  Feature.toolChoiceRequired |
  Feature.customTools |
  Feature.legacyFunctions |
  Feature.webSearch |
  Feature.jsonObject |
  Feature.jsonSchema |
  Feature.logprobs |
  Feature.multipleChoices |
  Feature.audioOutput;

/** Fields of engines that make an answer more than plain text, and those of OpenAI's that `defaults` may hold. */
const FORMING_FIELDS = [
  ...["tools", "functions", "modalities", "logprobs"],
  ...["structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding"],
  ...["grammar", "json_schema", "regex", "ebnf", "format", "output_config"],
];

type Fields = Readonly<Record<string, unknown>>;

/**
 * Is the request one whose stream may be continued once it has broken? A plain text is: one choice, no tools, no JSON, no
 * log probabilities, no reasoning asked for, and no answer that the caller has begun itself.
 */
export function isContinuable(request: RequestState, group: GroupState, deployment: Deployment): boolean {
  if (!group.settings.midStream.isContinued) return false;
  if (request.continuation) return true;
  const { checked, operation } = request;
  if (operation !== "chat.completions" || !checked.isStreaming || request.isPinned) return false;
  if ((checked.features & NOT_PLAIN) !== 0 || checked.choices > 1 || checked.hasReasoning) return false;
  const body = request.body as ChatRequest; // the operation tells its type
  if (body.messages.at(-1)?.role === "assistant") return false;
  return !shapesAnswer(body as unknown as Fields) && !shapesAnswer(deployment.defaults);
}

/** Plugins may ask for another form of answer in an attempt than the request does. @param body - As it is sent. */
export function isReshaped({ settings }: GroupState, body: RequestBody): boolean {
  if (!settings.midStream.isContinued || !("messages" in body)) return false;
  return body.messages.at(-1)?.role === "assistant" || shapesAnswer(body as unknown as Fields);
}

/** @param fields - Of a body, or of a deployment's `defaults`. */
function shapesAnswer(fields: Fields): boolean {
  const { response_format: format, n, reasoning_effort: effort } = fields;
  if (typeof format === "object" && format !== null && Reflect.get(format, "type") !== "text") return true;
  if (typeof n === "number" && n > 1) return true;
  if (typeof effort === "string" && effort !== "none") return true;
  return FORMING_FIELDS.some((name) => isGiven(fields[name]));
}

function isGiven(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  return !Array.isArray(value) || value.some((entry) => entry !== "text");
}

/** Is there anybody in the group who can be made to continue? */
export function hasContinuers({ settings, pool }: GroupState): boolean {
  return settings.midStream.prompt !== undefined || pool.candidates.some(({ deployment }) => deployment.takesPrefill);
}

/** Did the answer end with one of the request's stop sequences, so that only its finish reason is missing? */
export function endsWithStop({ body }: RequestState, text: string): boolean {
  const { stop } = body as ChatRequest; // only streams of chats are continued
  const sequences = typeof stop === "string" ? [stop] : (stop ?? []);
  return sequences.some((sequence) => sequence !== "" && text.endsWith(sequence));
}

/**
 * From here on the request asks for the rest of its answer: what is chosen, reserved and sent for it goes by that.
 *
 * @param delivered - The text of the broken stream.
 * @param reportedTokens - What its upstream counted of it, if it did.
 */
export function beginContinuation(
  request: RequestState,
  { settings, pool }: GroupState,
  delivered: string,
  reportedTokens: number | undefined,
): Continuation {
  const { prompt } = settings.midStream;
  const { checked } = request;
  const tokens = request.snapshot.settings.counterLoader.counter.count(delivered);
  const body = request.body as ChatRequest; // only streams of chats are continued
  const continuation = new Continuation(body, delivered, reportedTokens ?? tokens, prompt);
  const { maxOutputTokens } = checked;
  const needsPrefill = prompt === undefined && delivered.trim() !== "";
  request.continuation = continuation;
  request.checked = {
    ...checked,
    features: needsPrefill ? checked.features | Feature.prefill : checked.features,
    maxOutputTokens: maxOutputTokens === undefined ? undefined : continuation.remainingTokens(maxOutputTokens),
  };
  // What it is asked for at most is what budgets are to cover; each deployment's own body is made from it.
  const unfinished: ChatMessage[] = [{ role: "assistant", content: delivered }];
  if (prompt !== undefined) unfinished.push({ role: "user", content: prompt });
  request.body = { ...body, messages: [...body.messages, ...unfinished] };
  request.promptTokens += tokens;
  for (const { id, deployment } of pool.candidates) {
    // Its own settings would have it go on in another form.
    if (!shapesAnswer(deployment.defaults)) continue;
    request.tried.push(id);
    request.ruledOut.push(id);
  }
  return continuation;
}
