import type { Clock } from "../internal/clock.js";
import { type Random, randomId } from "../internal/random.js";
import type { ChatRequest } from "../protocol/chat.js";
import type { CompletionRequest } from "../protocol/completions.js";
import type { EmbeddingRequest } from "../protocol/embeddings.js";
import type { Chunk, Operation, Reply } from "../protocol/operations.js";
import type { Usage } from "../protocol/usage.js";
import {
  type AnswerPlan,
  type AnswerRules,
  type PlannedChoice,
  planChat,
  planCompletion,
  planEmbeddings,
} from "../providers/simulated/request.js";
import { type AnswerIdentity, chatReply, completionReply, embeddingReply } from "../providers/simulated/response.js";
import { chatSteps, completionSteps, type Pace, type StreamStep } from "../providers/simulated/stream.js";
import { tokenPieces, tokenPiecesOfLength } from "../providers/simulated/token-pieces.js";
import { type AnswerBehaviour, type StreamOptions, simulationOf } from "./behaviours.js";

type RequestObject = Readonly<Record<string, unknown>>;

/** An answer that is worked out, but not yet sent. */
export interface PreparedAnswer {
  readonly pace: Pace;
  /** `undefined`: embeddings, which are there at once. */
  readonly plan: AnswerPlan | undefined;
  whole(): Reply;
  steps(includeUsage: boolean): Iterable<StreamStep<Chunk>>;
}

/** What a real upstream would refuse, as far as it would break the answer. */
export function requestProblem(operation: Operation, body: RequestObject): string | undefined {
  if (typeof body.model !== "string") return "you must provide a model parameter";
  if (operation === "chat.completions") {
    const isMessage = (message: unknown) => typeof message === "object" && message !== null && "role" in message;
    return Array.isArray(body.messages) && body.messages.every(isMessage)
      ? undefined
      : "`messages` is not a list of messages";
  }
  if (operation === "embeddings") {
    return typeof body.input === "string" || Array.isArray(body.input) ? undefined : "`input` is missing";
  }
  return undefined;
}

/** @param requestBody - Free of what {@link requestProblem} finds. */
export function prepareAnswer(
  operation: Operation,
  requestBody: RequestObject,
  behaviour: AnswerBehaviour,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): PreparedAnswer {
  const { options } = behaviour;
  const model = simulationOf(behaviour)?.model;
  const pace: Pace = {
    ttftMs: options.firstTokenMs ?? 0,
    msPerToken: options.msPerToken ?? 0,
    jitter: options.jitter ?? 0,
  };
  const body: unknown = requestBody; // the operation, with the check of `requestProblem`, tells its type
  const modelName = options.model ?? String(requestBody.model);
  if (operation === "embeddings") {
    const embeddings = body as EmbeddingRequest;
    const dimensions = embeddings.dimensions ?? options.embeddingDimensions ?? model?.embeddingDimensions ?? 64;
    const isBase64 = embeddings.encoding_format === "base64";
    const whole = () =>
      withUsage(embeddingReply(planEmbeddings(embeddings), dimensions, isBase64, modelName), options.usage);
    return { pace, plan: undefined, whole, steps: () => [] };
  }
  const isChat = operation === "chat.completions";
  const rules: AnswerRules = model ?? { reply: options.text ?? "echo", outputTokens: options.tokens };
  const planned = isChat ? planChat(body as ChatRequest, rules) : planCompletion(body as CompletionRequest, rules);
  const plan = model ? planned : scripted(planned, options);
  const identity: AnswerIdentity = {
    id: randomId(random, isChat ? "chatcmpl-" : "cmpl-"),
    created: Math.floor(clock.wallNow() / 1_000),
    model: modelName,
    random,
  };
  return {
    pace,
    plan,
    whole: () => withUsage(isChat ? chatReply(plan, identity) : completionReply(plan, identity), options.usage),
    steps: (includeUsage) => (isChat ? chatSteps : completionSteps)(plan, identity, includeUsage),
  };
}

/** The plan with what the script says put in its place. */
function scripted(planned: AnswerPlan, options: StreamOptions): AnswerPlan {
  const { text, chunks, tokens, toolCalls, reasoning, finishReason } = options;
  const isScripted = text !== undefined || chunks !== undefined || toolCalls !== undefined;
  return {
    promptTokens: planned.promptTokens,
    choices: planned.choices.map((choice): PlannedChoice => {
      const content: PlannedChoice = isScripted
        ? {
            reasoning: [],
            text: chunks ?? (tokens === undefined ? tokenPieces(text ?? "") : tokenPiecesOfLength(text ?? "", tokens)),
            toolCalls: (toolCalls ?? []).map((call) => ({
              id: call.id,
              name: call.name,
              arguments: tokenPieces(
                typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments ?? {}),
              ),
            })),
            finishReason: toolCalls?.length ? "tool_calls" : "stop",
          }
        : choice;
      return {
        ...content,
        reasoning: reasoning === undefined ? [] : tokenPieces(reasoning),
        finishReason: finishReason === undefined ? content.finishReason : finishReason,
      };
    }),
  };
}

const ABSURD_USAGE: Usage = { prompt_tokens: -7, completion_tokens: 1e300, total_tokens: 0.5 };

function reportedUsage(counted: Usage, usage: StreamOptions["usage"]): Usage | undefined {
  if (usage === undefined) return counted;
  return usage === "absent" ? undefined : usage === "absurd" ? ABSURD_USAGE : usage;
}

function withUsage<R extends Reply>(whole: R, usage: StreamOptions["usage"]): R {
  const { usage: counted, ...rest } = whole;
  const reported = counted && reportedUsage(counted as Usage, usage); // embeddings count fewer things, but the same ones
  return (reported ? { ...rest, usage: reported } : rest) as R; // the same reply, but for its usage
}

/** JSON of an object, with a member that makes it as long as asked for. */
export function padded(value: object, paddingBytes: number | undefined): string {
  const json = JSON.stringify(value);
  return paddingBytes ? `${json.slice(0, -1)},"padding":"${"x".repeat(paddingBytes)}"}` : json;
}

/** The usage chunk as it is to be sent, if it is. */
export function usageEvent(chunk: Chunk, includeUsage: boolean, usage: StreamOptions["usage"]): Chunk | undefined {
  if (!includeUsage || !chunk.usage) return undefined;
  const reported = reportedUsage(chunk.usage, usage);
  return reported && { ...chunk, usage: reported };
}
