import type OpenAI from "openai";
import { describe, expectTypeOf, it } from "vitest";
import {
  type ChatChunk,
  type ChatCompletion,
  type ChatRequest,
  type Completion,
  type CompletionChunk,
  type CompletionRequest,
  type EmbeddingReply,
  type EmbeddingRequest,
  type ModelList,
  type ReplyStream,
  Router,
} from "../../src/index.js";

type Chat = OpenAI.Chat.ChatCompletionCreateParams;
type WholeChat = OpenAI.Chat.ChatCompletionCreateParamsNonStreaming;
type StreamedChat = OpenAI.Chat.ChatCompletionCreateParamsStreaming;

describe("the types of OpenAI's SDK", () => {
  it("of requests are taken as they are", () => {
    expectTypeOf<WholeChat>().toExtend<ChatRequest>();
    expectTypeOf<StreamedChat>().toExtend<ChatRequest>();
    expectTypeOf<Chat>().toExtend<ChatRequest>();
    expectTypeOf<OpenAI.CompletionCreateParamsNonStreaming>().toExtend<CompletionRequest>();
    expectTypeOf<OpenAI.CompletionCreateParamsStreaming>().toExtend<CompletionRequest>();
    expectTypeOf<OpenAI.CompletionCreateParams>().toExtend<CompletionRequest>();
    expectTypeOf<OpenAI.EmbeddingCreateParams>().toExtend<EmbeddingRequest>();
  });

  it("of requests tell what is answered", () => {
    const router = new Router({ models: {} as Record<string, [{ provider: "openai"; model: string }]> });
    const bodies = {} as { whole: WholeChat; streamed: StreamedChat; either: Chat };
    const legacy = {} as {
      whole: OpenAI.CompletionCreateParamsNonStreaming;
      streamed: OpenAI.CompletionCreateParamsStreaming;
    };
    const send = async () => ({
      whole: await router.chat.completions.create(bodies.whole),
      streamed: await router.chat.completions.create(bodies.streamed),
      either: await router.chat.completions.create(bodies.either),
      legacyWhole: await router.completions.create(legacy.whole),
      legacyStreamed: await router.completions.create(legacy.streamed),
      embeddings: await router.embeddings.create({} as OpenAI.EmbeddingCreateParams),
    });
    type Answers = Awaited<ReturnType<typeof send>>;
    expectTypeOf<Answers["whole"]>().toEqualTypeOf<ChatCompletion>();
    expectTypeOf<Answers["streamed"]>().toEqualTypeOf<ReplyStream<ChatChunk>>();
    expectTypeOf<Answers["either"]>().toEqualTypeOf<ChatCompletion | ReplyStream<ChatChunk>>();
    expectTypeOf<Answers["legacyWhole"]>().toEqualTypeOf<Completion>();
    expectTypeOf<Answers["legacyStreamed"]>().toEqualTypeOf<ReplyStream<CompletionChunk>>();
    expectTypeOf<Answers["embeddings"]>().toEqualTypeOf<EmbeddingReply>();
  });

  it("of replies are what is answered", () => {
    expectTypeOf<ChatCompletion>().toExtend<OpenAI.Chat.ChatCompletion>();
    expectTypeOf<ChatChunk>().toExtend<OpenAI.Chat.ChatCompletionChunk>();
    expectTypeOf<Completion>().toExtend<OpenAI.Completion>();
    expectTypeOf<EmbeddingReply>().toExtend<OpenAI.CreateEmbeddingResponse>();
    expectTypeOf<ModelList["data"][number]>().toExtend<OpenAI.Model>();
    expectTypeOf<ReplyStream<ChatChunk>>().toExtend<AsyncIterable<OpenAI.Chat.ChatCompletionChunk>>();
  });

  it("of messages and tools go in both directions", () => {
    expectTypeOf<OpenAI.Chat.ChatCompletionMessageParam>().toExtend<ChatRequest["messages"][number]>();
    expectTypeOf<OpenAI.Chat.ChatCompletionTool>().toExtend<NonNullable<ChatRequest["tools"]>[number]>();
    // An answer goes back as a message of the next turn.
    expectTypeOf<ChatCompletion["choices"][number]["message"]>().toExtend<ChatRequest["messages"][number]>();
    expectTypeOf<ChatCompletion["choices"][number]["message"]>().toExtend<OpenAI.Chat.ChatCompletionMessageParam>();
  });
});
