import type { ChatChunk, ChatCompletion, ChatRequest } from "../../protocol/chat.js";
import { type Answer, type AnswerStream, answerCall, type CallTarget } from "../../router/call.js";
import type { RoutingRecord } from "../../router/routing-record.js";
import type { LanguageModelCall, SpecificationVersion } from "../specification.js";
import { sdkError } from "./api-call-error.js";
import { type CallSettings, callSettings, type SwitchyardModelSettings } from "./call-settings.js";
import { chatRequestOf } from "./chat-request.js";
import { contentOf } from "./content.js";
import { routingMetadata } from "./metadata.js";
import type { GenerateResult, ProducedPart, StreamResult, WarningOf } from "./produced.js";
import { StreamParts } from "./stream-parts.js";
import { unifiedFinishReason, versionWriter } from "./versions.js";

const OPERATION = "chat.completions";

/** A model group as a language model of the SDK, which wraps it in proxies: no `#` members. */
export class SwitchyardLanguageModel<V extends SpecificationVersion> {
  readonly provider: string;
  /** Images are passed by URL; the SDK downloads everything else. */
  readonly supportedUrls: Record<string, RegExp[]> = { "image/*": [/^https?:\/\/.*$/] };

  constructor(
    readonly specificationVersion: V,
    provider: string,
    readonly modelId: string,
    private readonly router: CallTarget,
    private readonly settings: SwitchyardModelSettings,
  ) {
    this.provider = `${provider}.chat`;
  }

  /** @throws what the SDK takes for an `APICallError`; an `AbortError`. */
  async doGenerate(call: LanguageModelCall): Promise<GenerateResult<V>> {
    const write = versionWriter(this.specificationVersion);
    const { answer, body, warnings } = await this.send(call, false);
    // A request that does not ask for a stream gets none.
    const reply = (answer as Answer & { kind: "reply" }).reply as ChatCompletion;
    const { id, created, model, usage, choices } = reply;
    const reason = choices[0]?.finish_reason;
    const unified = choices[0]?.message.refusal ? "content-filter" : unifiedFinishReason(reason);
    return {
      content: contentOf(reply),
      finishReason: write.finishReason(unified, reason),
      usage: write.usage(usage),
      providerMetadata: routingMetadata(answer.routing),
      request: { body },
      response: { id, timestamp: new Date(created * 1_000), modelId: model, body: reply },
      warnings,
    };
  }

  /** @throws as {@link doGenerate}, up to the first content; later errors are parts of the stream. */
  async doStream(call: LanguageModelCall): Promise<StreamResult<V>> {
    const { answer, body, warnings } = await this.send(call, true);
    // A request that asks for a stream gets one, and of the form that was asked for.
    const { stream } = answer as Answer & { kind: "stream" };
    const chunks = stream as AnswerStream<ChatChunk>;
    return { stream: this.partsOf(chunks, answer.routing, warnings, body), request: { body } };
  }

  private async send(
    call: LanguageModelCall,
    isStreaming: boolean,
  ): Promise<{ answer: Answer; body: ChatRequest; warnings: WarningOf<V>[] }> {
    const write = versionWriter(this.specificationVersion);
    const warnings: WarningOf<V>[] = [];
    let body: ChatRequest | undefined;
    try {
      const settings: CallSettings = callSettings(this.settings, call.providerOptions, call.abortSignal);
      const request = chatRequestOf(this.modelId, call, settings.isStrict, (setting, details) =>
        warnings.push(write.warning(setting, details)),
      );
      body = isStreaming
        ? { ...settings.body, ...request, stream: true, stream_options: { include_usage: true } }
        : { ...settings.body, ...request };
      const { options } = settings;
      const answer = await this.router[answerCall]({ operation: OPERATION, body, options, form: "chunks" });
      for (const field of answer.routing.dropped) {
        warnings.push(write.warning(field, "the deployment that answered does not know it, and it was left out"));
      }
      return { answer, body, warnings };
    } catch (error) {
      throw sdkError(error, OPERATION, body);
    }
  }

  private partsOf(
    chunks: AnswerStream<ChatChunk>,
    routing: RoutingRecord,
    warnings: WarningOf<V>[],
    body: ChatRequest,
  ): ReadableStream<ProducedPart<V>> {
    const parts = new StreamParts(versionWriter(this.specificationVersion));
    return new ReadableStream<ProducedPart<V>>({
      start(controller) {
        controller.enqueue({ type: "stream-start", warnings });
      },
      async pull(controller) {
        const enqueue = (produced: readonly ProducedPart<V>[]) => {
          for (const part of produced) controller.enqueue(part);
          return produced.length > 0;
        };
        try {
          // Until there is something to read: a pull that brings nothing is not repeated.
          for (;;) {
            const batch = await chunks.next();
            if (!batch) {
              enqueue(parts.end(routingMetadata(await routing.done)));
              controller.close();
              return;
            }
            let hasParts = false;
            for (const chunk of batch) hasParts = enqueue(parts.add(chunk)) || hasParts;
            if (hasParts) return;
          }
        } catch (thrown) {
          const error = sdkError(thrown, OPERATION, body);
          // An abort ends the stream as it ends a response's body.
          if (error === thrown) controller.error(error);
          else {
            enqueue(parts.fail(error, routingMetadata(await routing.done)));
            controller.close();
          }
        }
      },
      cancel() {
        chunks.cancel();
      },
    });
  }
}
