import type { ChatRequest, FinishReason, FunctionTool } from "../../protocol/chat.js";
import type { CompletionRequest } from "../../protocol/completions.js";
import type { EmbeddingRequest } from "../../protocol/embeddings.js";
import { estimateTokens, utf8Length } from "../../tokens/estimate.js";
import { minimalJson } from "./minimal-json.js";
import type { SimulatedModel } from "./options.js";
import { tokenPieces, tokenPiecesOfLength } from "./token-pieces.js";

/** What a simulated model is going to say, before it has the shape of a reply or a stream. */
export interface AnswerPlan {
  readonly promptTokens: number;
  readonly choices: readonly PlannedChoice[];
}

/** One choice, cut into tokens: reasoning first, then text, then tool calls. */
export interface PlannedChoice {
  /** Legacy completions: the prompt, repeated before the answer. Counts as no output. */
  readonly echoed?: string | undefined;
  readonly reasoning: readonly string[];
  readonly text: readonly string[];
  readonly toolCalls: readonly PlannedToolCall[];
  /** `null`: the stream never says why it ended, which is no complete answer (R9). */
  readonly finishReason: FinishReason | null;
}
export interface PlannedToolCall {
  /** Without one the shape makes one up. */
  readonly id?: string | undefined;
  readonly name: string;
  /** JSON text, cut into tokens. */
  readonly arguments: readonly string[];
}

/** What of a model decides about the content of its answers. */
export type AnswerRules = Pick<SimulatedModel, "reply" | "outputTokens">;

const NOTHING_TO_ECHO = "(nothing to echo)";

export function planChat(body: ChatRequest, rules: AnswerRules): AnswerPlan {
  const cap = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  const tool = requiredTool(body);
  const choice = tool
    ? cut({ reasoning: [], text: [], toolCalls: [callOf(tool)], finishReason: "tool_calls" }, cap)
    : cut(
        { reasoning: [], text: rest(chatText(body, rules), body), toolCalls: [], finishReason: "stop" },
        cap,
        body.stop,
      );
  return {
    promptTokens: chatPromptTokens(body),
    choices: Array.from({ length: body.n ?? 1 }, () => choice),
  };
}

/** One answer per prompt, `n` times each. */
export function planCompletion(body: CompletionRequest, rules: AnswerRules): AnswerPlan {
  const prompts = inputTexts(body.prompt ?? "");
  const choices: PlannedChoice[] = [];
  for (const prompt of prompts) {
    const text = textPieces(rules, prompt.text);
    const choice = cut(
      { reasoning: [], text, toolCalls: [], finishReason: "stop" },
      body.max_tokens ?? undefined,
      body.stop,
    );
    const echoed = body.echo ? { ...choice, echoed: prompt.text } : choice;
    for (let copy = 0; copy < (body.n ?? 1); copy++) choices.push(echoed);
  }
  return { promptTokens: prompts.reduce((sum, { tokens }) => sum + tokens, 0), choices };
}

export interface EmbeddingInput {
  readonly text: string;
  readonly tokens: number;
}

export function planEmbeddings(body: EmbeddingRequest): EmbeddingInput[] {
  return inputTexts(body.input);
}

/** Tokens that the request allows for its answer; 0 where it says nothing. */
export function requestedTokens(body: ChatRequest | CompletionRequest): number {
  const chatCap = "max_completion_tokens" in body ? body.max_completion_tokens : undefined;
  return chatCap ?? body.max_tokens ?? 0;
}

/** Tokens of all choices: what is charged. */
export function outputTokens(plan: AnswerPlan): number {
  return plan.choices.reduce((sum, choice) => sum + choiceTokens(choice), 0);
}

/** Tokens of the longest choice: what takes time, as all are written at once. */
export function longestChoice(plan: AnswerPlan): number {
  return plan.choices.reduce((most, choice) => Math.max(most, choiceTokens(choice)), 0);
}

function choiceTokens({ reasoning, text, toolCalls }: PlannedChoice): number {
  return toolCalls.reduce((sum, call) => sum + call.arguments.length, reasoning.length + text.length);
}

/** The last user message as text: images and other parts are seen by no simulated model. */
export function lastUserText(body: ChatRequest): string {
  const message = body.messages.findLast(({ role }) => role === "user");
  return message ? contentText(message.content) : "";
}

function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: { text?: unknown } | null) => (typeof part?.text === "string" ? part.text : "")).join("");
}

function chatPromptTokens(body: ChatRequest): number {
  let bytes = 0;
  for (const { content } of body.messages) bytes += utf8Length(contentText(content));
  if (body.tools) bytes += utf8Length(JSON.stringify(body.tools));
  return Math.max(1, estimateTokens(bytes));
}

function inputTexts(input: CompletionRequest["prompt"] | EmbeddingRequest["input"]): EmbeddingInput[] {
  const items: readonly (string | number | number[])[] = Array.isArray(input) ? input : [input ?? ""];
  // One list of token ids is one input, not one per token.
  if (typeof items[0] === "number") return [{ text: items.join(" "), tokens: items.length }];
  return items.map((item) =>
    typeof item === "string"
      ? { text: item, tokens: Math.max(1, estimateTokens(utf8Length(item))) }
      : { text: String(item).replaceAll(",", " "), tokens: Array.isArray(item) ? item.length : 1 },
  );
}

function chatText(body: ChatRequest, rules: AnswerRules): string[] {
  const format = body.response_format;
  if (format?.type === "json_object" || format?.type === "json_schema") {
    // Whoever set the reply to JSON knows what should come.
    if (isJson(rules.reply)) return tokenPieces(rules.reply);
    if (format.type === "json_object")
      return tokenPieces(JSON.stringify({ reply: textPieces(rules, lastUserText(body)).join("") }));
    return tokenPieces(JSON.stringify(minimalJson(format.json_schema?.schema ?? {})));
  }
  return textPieces(rules, lastUserText(body));
}

/** What is left of an answer whose beginning ends the conversation. */
function rest(pieces: string[], { messages }: ChatRequest): string[] {
  const last = messages.at(-1);
  const begun = last?.role === "assistant" ? contentText(last.content) : "";
  const whole = begun === "" ? "" : pieces.join("");
  return whole.startsWith(begun) && begun !== "" ? tokenPieces(whole.slice(begun.length)) : pieces;
}

function textPieces({ reply, outputTokens }: AnswerRules, prompt: string): string[] {
  const text = reply === "echo" ? prompt || NOTHING_TO_ECHO : reply;
  return outputTokens === undefined ? tokenPieces(text) : tokenPiecesOfLength(text, outputTokens);
}

function isJson(text: string): boolean {
  if (!text.startsWith("{") && !text.startsWith("[")) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The function that the request obliges the model to call, if any; tools of other kinds are not simulated. */
function requiredTool({ tools, tool_choice: choice }: ChatRequest): FunctionTool | undefined {
  const functions = tools?.filter((tool) => tool.type === "function");
  if (!functions || !choice) return undefined;
  if (choice === "required") return functions[0];
  if (typeof choice === "string") return undefined;
  if (choice.type === "function") return functions.find((tool) => tool.function.name === choice.function.name);
  if (choice.type !== "allowed_tools" || choice.allowed_tools.mode !== "required") return undefined;
  const allowed = JSON.stringify(choice.allowed_tools.tools);
  return functions.find((tool) => allowed.includes(JSON.stringify(tool.function.name)));
}

function callOf({ function: { name, parameters } }: FunctionTool): PlannedToolCall {
  const value = parameters ? minimalJson({ type: "object", ...parameters }) : {};
  return { name, arguments: tokenPieces(JSON.stringify(value)) };
}

/** Ends a choice before the first stop sequence, and after at most `cap` tokens. */
function cut(choice: PlannedChoice, cap: number | undefined, stop?: string | string[] | null): PlannedChoice {
  let { text, toolCalls, finishReason } = choice;
  const stops = typeof stop === "string" ? [stop] : (stop ?? []);
  if (stops.length > 0 && text.length > 0) {
    const whole = text.join("");
    const end = Math.min(...stops.map((sequence) => (sequence ? whole.indexOf(sequence) : -1)).filter((at) => at >= 0));
    if (Number.isFinite(end)) text = tokenPieces(whole.slice(0, end));
  }
  if (cap !== undefined && cap < text.length) {
    text = text.slice(0, cap);
    finishReason = "length";
  }
  toolCalls = toolCalls.map((call) => {
    if (cap === undefined || cap >= call.arguments.length) return call;
    finishReason = "length";
    return { ...call, arguments: call.arguments.slice(0, cap) };
  });
  return { ...choice, text, toolCalls, finishReason };
}
