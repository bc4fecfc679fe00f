import type { EmbeddingReply } from "../../protocol/embeddings.js";
import { type Answer, answerCall, type CallTarget } from "../../router/call.js";
import type { EmbeddingModelCall, SpecificationVersion } from "../specification.js";
import { sdkError } from "./api-call-error.js";
import { callSettings, type SwitchyardModelSettings } from "./call-settings.js";
import { routingMetadata } from "./metadata.js";
import type { EmbedResult } from "./produced.js";
import { versionWriter } from "./versions.js";

const OPERATION = "embeddings";

/** What an embedding model needs of a router. */
export interface EmbeddingTarget extends CallTarget {
  readonly inputLimits: { readonly inputs: number };
}

/** A model group as an embedding model of the SDK, which wraps it in proxies: no `#` members. */
export class SwitchyardEmbeddingModel<V extends SpecificationVersion> {
  readonly provider: string;
  readonly supportsParallelCalls = true;

  constructor(
    readonly specificationVersion: V,
    provider: string,
    readonly modelId: string,
    private readonly router: EmbeddingTarget,
    private readonly settings: SwitchyardModelSettings,
  ) {
    this.provider = `${provider}.embedding`;
  }

  /** The router's own limit, as it is now. */
  get maxEmbeddingsPerCall(): number {
    return this.router.inputLimits.inputs;
  }

  /** @throws what the SDK takes for an `APICallError`; an `AbortError`. */
  async doEmbed(call: EmbeddingModelCall): Promise<EmbedResult<V>> {
    const write = versionWriter(this.specificationVersion);
    let body: Record<string, unknown> | undefined;
    try {
      const settings = callSettings(this.settings, call.providerOptions, call.abortSignal);
      body = { ...settings.body, model: this.modelId, input: [...call.values] };
      if (call.dimensions !== undefined) body.dimensions = call.dimensions;
      const { options } = settings;
      const answer = await this.router[answerCall]({ operation: OPERATION, body, options, form: "chunks" });
      // Embeddings are no stream.
      const { data, usage } = (answer as Answer & { kind: "reply" }).reply as EmbeddingReply;
      const ordered = [...data].sort((a, b) => a.index - b.index);
      return {
        embeddings: ordered.map(({ embedding }) => embedding),
        usage: { tokens: usage.prompt_tokens },
        providerMetadata: routingMetadata(answer.routing),
        // The vectors are in `embeddings` already.
        response: { body: undefined },
        warnings: answer.routing.dropped.map((field) =>
          write.warning(field, "the deployment that answered does not know it, and it was left out"),
        ),
      };
    } catch (error) {
      throw sdkError(error, OPERATION, body);
    }
  }
}
