import { badResponse } from "../../errors/upstream-error.js";
import type { FeatureName } from "../../protocol/features.js";
import { features } from "../../protocol/features.js";
import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, DirectAnswer, DirectCall, DirectUpstream } from "../../providers/provider.js";
import { DroppedFields } from "../../providers/shared/encoded-body.js";
import { isJsonObject } from "../../providers/shared/json-object.js";
import type { AiSdkLanguageModel, SpecificationVersion } from "../specification.js";
import { callError } from "./call-error.js";
import type { CallWriter } from "./call-writer.js";
import { chunksOf, type PartReader } from "./chunks.js";
import { completionOf } from "./completion.js";
import { reportWarnings } from "./warnings.js";

const DROPS: readonly FeatureName[] = ["logprobs", "logitBias", "parallelToolCallsOff", "prediction", "customTools"];
const REJECTS: readonly FeatureName[] = ["multipleChoices", "audioOutput", "webSearch", "legacyFunctions"];

/** A language model of the AI SDK, called directly. */
export class LanguageModelUpstream implements DirectUpstream {
  readonly kind = "direct";
  readonly host = "ai-sdk";
  readonly operations: DirectUpstream["operations"];

  constructor(
    private readonly model: AiSdkLanguageModel,
    version: SpecificationVersion,
    private readonly writer: CallWriter,
  ) {
    const drops = version === "v4" ? DROPS : [...DROPS, "reasoningEffort" as const];
    this.operations = { "chat.completions": { drops: features(...drops), rejects: features(...REJECTS) } };
  }

  async call(body: RequestBody, context: AttemptContext, { signal }: DirectCall): Promise<DirectAnswer> {
    const { model } = this;
    const report = new DroppedFields();
    try {
      const options = this.writer.write(body, (await model.supportedUrls) ?? {}, signal, report);
      if (!context.isStreaming) {
        // The options follow the model's version; its parameter is typed for no version in particular.
        const result = await model.doGenerate(options as never);
        if (isJsonObject(result)) reportWarnings(result.warnings, report);
        return { kind: "reply", reply: completionOf(result, context), dropped: report.fields };
      }
      const reader = readerOf(await model.doStream(options as never)); // see above
      // A model that ignores its signal is left behind all the same.
      const leave = () => void reader.cancel(signal.reason).catch(() => {});
      if (signal.aborted) leave();
      signal.addEventListener("abort", leave, { once: true });
      const first = await reader.read();
      // Streams begin with their warnings, before anything is generated.
      if (isJsonObject(first.value) && first.value.type === "stream-start") {
        reportWarnings(first.value.warnings, report);
      }
      return { kind: "stream", chunks: chunksOf(reader, first, context, signal), dropped: report.fields };
    } catch (error) {
      throw callError(error, signal, context.clock.wallNow());
    }
  }
}

function readerOf(result: unknown): PartReader {
  const { stream } = isJsonObject(result) ? result : {};
  // By its shape: the stream may come from a polyfill.
  if (!isJsonObject(stream) || typeof stream.getReader !== "function") {
    throw badResponse("the model's result has no stream");
  }
  return stream.getReader() as PartReader; // what the specification says of it
}
