import type { UpstreamError } from "../../errors/upstream-error.js";
import { type Random, randomId } from "../../internal/random.js";
import type { ChatRequest } from "../../protocol/chat.js";
import type { CompletionRequest } from "../../protocol/completions.js";
import type { EmbeddingRequest } from "../../protocol/embeddings.js";
import { Feature } from "../../protocol/features.js";
import type { Operation, RequestBody } from "../../protocol/operations.js";
import type {
  AttemptContext,
  DirectAnswer,
  DirectCall,
  DirectUpstream,
  FeatureSupport,
  Provider,
} from "../provider.js";
import { contextLengthExceeded, simulatedFailure } from "./errors.js";
import { type SimulatedModel, simulatedModel, simulatedOptionNames } from "./options.js";
import { type AnswerPlan, planChat, planCompletion, planEmbeddings, requestedTokens } from "./request.js";
import { type AnswerIdentity, chatReply, completionReply, embeddingReply } from "./response.js";
import { chatSteps, completionSteps, type PlannedFailure, paced, wholeAnswerMs } from "./stream.js";

/**
 * Models inside the process that only pretend to think: for tests, demonstrations and dry runs without keys or network.
 * What they say depends on the request alone; how long it takes and how often it fails is set by the deployment's
 * options, with the router's clock and chance.
 */
export const simulated: Provider = {
  name: "simulated",
  apiKey: "none",
  ownOptions: simulatedOptionNames,
  connect: ({ own }) => new SimulatedUpstream(simulatedModel(own)),
};

class SimulatedUpstream implements DirectUpstream {
  readonly kind = "direct";
  readonly host = "simulated";
  readonly operations: Readonly<Record<Operation, FeatureSupport>> = {
    // Sampling parameters have nothing to act on and are obeyed by doing nothing; what would have to show is dropped.
    "chat.completions": {
      drops: Feature.logprobs | Feature.audioOutput | Feature.webSearch | Feature.customTools | Feature.legacyFunctions,
      rejects: 0,
    },
    completions: { drops: Feature.logprobs | Feature.suffix, rejects: 0 },
    embeddings: { drops: 0, rejects: 0 },
  };

  constructor(private readonly model: SimulatedModel) {}

  takesPrefill(): boolean {
    return true;
  }

  async call(body: RequestBody, context: AttemptContext, { signal }: DirectCall): Promise<DirectAnswer> {
    signal.throwIfAborted();
    const { model } = this;
    const { clock, random } = context;
    const failure = drawFailure(model, random);
    if (failure?.afterTokens === 0) throw failure.error;

    if (context.operation === "embeddings") {
      const request = body as EmbeddingRequest; // the operation tells the body's type
      if (model.ttftMs > 0) await clock.sleep(model.ttftMs, signal);
      if (failure) throw failure.error;
      const dimensions = request.dimensions ?? model.embeddingDimensions;
      return {
        kind: "reply",
        reply: embeddingReply(planEmbeddings(request), dimensions, context.wantsBase64, context.model),
      };
    }

    const isChat = context.operation === "chat.completions";
    const request = body as ChatRequest | CompletionRequest; // the operation is one of the two, see above
    const plan = isChat ? planChat(request as ChatRequest, model) : planCompletion(request as CompletionRequest, model);
    const tooLong = contextError(model, plan, request);
    if (tooLong) throw tooLong;
    const identity: AnswerIdentity = {
      id: randomId(random, isChat ? "chatcmpl-" : "cmpl-"),
      created: Math.floor(clock.wallNow() / 1_000),
      model: context.model,
      random,
    };

    if (context.isStreaming) {
      const waiting = { clock, random, signal };
      const chunks = isChat
        ? paced(chatSteps(plan, identity, context.includeUsage), model, waiting, failure)
        : paced(completionSteps(plan, identity, context.includeUsage), model, waiting, failure);
      return { kind: "stream", chunks };
    }
    const durationMs = wholeAnswerMs(plan, model, random, failure);
    if (durationMs > 0) await clock.sleep(durationMs, signal);
    if (failure) throw failure.error;
    return { kind: "reply", reply: isChat ? chatReply(plan, identity) : completionReply(plan, identity) };
  }
}

/** Chance is asked only where the outcome is open, so that a model that never fails does not shift a seeded sequence. */
export function drawFailure(model: SimulatedModel, random: Random): PlannedFailure | undefined {
  const { failureRate } = model;
  if (failureRate === 0 || (failureRate < 1 && random.next() >= failureRate)) return undefined;
  return { error: simulatedFailure(model.failure, model.retryAfterMs), afterTokens: model.failAfterTokens };
}

/** Prompt and requested output do not fit the context window. */
export function contextError(
  { contextTokens }: SimulatedModel,
  { promptTokens }: AnswerPlan,
  body: ChatRequest | CompletionRequest,
): UpstreamError | undefined {
  const outputTokens = requestedTokens(body);
  if (contextTokens === undefined || promptTokens + outputTokens <= contextTokens) return undefined;
  return contextLengthExceeded(contextTokens, promptTokens, outputTokens);
}
