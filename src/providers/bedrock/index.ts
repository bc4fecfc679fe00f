import { UpstreamError } from "../../errors/upstream-error.js";
import type { FeatureName } from "../../protocol/features.js";
import { features } from "../../protocol/features.js";
import type { Operation } from "../../protocol/operations.js";
import type { EncodedRequest, FeatureSupport, Provider, ProviderSettings, WireUpstream } from "../provider.js";
import { modelPathSegment } from "../shared/base-url.js";
import { CredentialHeader } from "../shared/credential-header.js";
import { withLegacyCompletions } from "../shared/legacy-completions.js";
import { eventStreamCodec, loadEventStreamCodec } from "./aws.js";
import { EMBEDDING_DROPS, EmbeddingWriter, embeddingLimits } from "./embeddings.js";
import { type Endpoint, endpointOf } from "./endpoint.js";
import { errorOfResponse } from "./errors.js";
import { embeddingFamily, modelFacts } from "./models.js";
import { type BedrockSettings, bedrockOptionNames, bedrockSettings } from "./options.js";
import { RequestWriter } from "./request.js";
import { decodeModelList, decodeReply } from "./response.js";
import { amzDate, DATE_HEADER, RequestSigner } from "./signing.js";
import { BedrockStream } from "./stream.js";

/** AWS Bedrock: chat through Converse, embeddings through InvokeModel. @see https://docs.aws.amazon.com/bedrock/latest/APIReference */
export const bedrock: Provider = {
  name: "bedrock",
  apiKey: "optional",
  ownOptions: bedrockOptionNames,
  connect(settings) {
    const upstream = connect(settings, bedrockSettings(settings), endpointOf(settings));
    return upstream.operations["chat.completions"] ? withLegacyCompletions(upstream) : upstream;
  },
};

const CHAT_DROPS: readonly FeatureName[] = ["logprobs", "seed", "logitBias", "penalties", "prediction", "jsonObject"];
const CHAT_REJECTS: readonly FeatureName[] = [
  "imageUrl",
  "audioInput",
  "audioOutput",
  "multipleChoices",
  "webSearch",
  "customTools",
  "legacyFunctions",
];

/** Responses are wanted uncoded (S36). */
const GET_HEADERS = { accept: "application/json", "accept-encoding": "identity" };
const WHOLE_HEADERS = { ...GET_HEADERS, "content-type": "application/json" };
const EVENT_STREAM = "application/vnd.amazon.eventstream";
const STREAM_HEADERS = { ...WHOLE_HEADERS, accept: EVENT_STREAM };
const STREAM_PATH = "/converse-stream";

function connect(settings: ProviderSettings, own: BedrockSettings, endpoint: Endpoint): WireUpstream {
  const { origin, host, prefix, region, controlOrigin } = endpoint;
  const { baseModel } = own;
  const chat = new RequestWriter(own, settings);
  const embeddings = new EmbeddingWriter(own, settings);
  const signer = own.keys && new RequestSigner(own.keys, region);
  const bearer = new CredentialHeader("authorization", "Bearer ");

  const authorized = (
    request: EncodedRequest,
    apiKey: string | undefined,
  ): EncodedRequest | Promise<EncodedRequest> => {
    if (signer) return signer.sign(request, request.origin ?? origin);
    if (apiKey !== undefined) return bearer.addTo(request, apiKey);
    throw new UpstreamError("the deployment has no credential: give `apiKey`, keys of AWS, or `credentials`", {
      errorClass: "authentication",
    });
  };
  return {
    kind: "wire",
    host,
    origin,
    operations: operationsOf(baseModel ?? settings.model),
    contentTypes: { whole: ["application/json"], stream: [EVENT_STREAM] },
    encode(body, context) {
      const isChat = context.operation === "chat.completions";
      const { text, dropped } = isChat ? chat.write(body, context) : embeddings.write(body, context);
      const verb = !isChat ? "/invoke" : context.isStreaming ? STREAM_PATH : "/converse";
      const headers = context.isStreaming ? STREAM_HEADERS : WHOLE_HEADERS;
      return {
        method: "POST",
        path: `${prefix}/model/${modelPathSegment(context.model)}${verb}`,
        headers: signer ? { ...headers, [DATE_HEADER]: amzDate(context.clock.wallNow()) } : headers,
        body: text,
        dropped,
      };
    },
    authorize(request, apiKey) {
      // Whoever streams needs it soon; later there is no time to wait.
      const loading = request.path.endsWith(STREAM_PATH) ? loadEventStreamCodec() : undefined;
      return loading ? loading.then(() => authorized(request, apiKey)) : authorized(request, apiKey);
    },
    decodeReply: (response, context) => decodeReply(response, context, baseModel),
    openStream: (context) => new BedrockStream(context, eventStreamCodec(), baseModel),
    embeddingLimits: ({ model }) => embeddingLimits(baseModel ?? model),
    decodeError: (response, context) => errorOfResponse(response, context.clock.wallNow()),
    modelList: controlOrigin === undefined ? undefined : modelListAt(controlOrigin),
  };
}

function modelListAt(origin: string): NonNullable<WireUpstream["modelList"]> {
  return {
    request: { method: "GET", origin, path: "/foundation-models", headers: GET_HEADERS },
    decode: decodeModelList,
  };
}

/** A model writes or embeds; of a wildcard group it is known only later. */
function operationsOf(model: string): Readonly<Partial<Record<Operation, FeatureSupport>>> {
  const family = embeddingFamily(model);
  const embeddings: FeatureSupport = {
    drops: family ? features(...EMBEDDING_DROPS[family]) : 0,
    rejects: features("tokenInput"),
  };
  if (family) return { embeddings };
  const isWildcard = model.includes("*");
  const chat = isWildcard ? { drops: features(...CHAT_DROPS), rejects: features(...CHAT_REJECTS) } : chatSupport(model);
  return isWildcard ? { "chat.completions": chat, embeddings } : { "chat.completions": chat };
}

function chatSupport(model: string): FeatureSupport {
  const { claude, reasoning, takesForcedTool } = modelFacts(model);
  const drops = [...CHAT_DROPS];
  if (reasoning === "none") drops.push("reasoningEffort");
  if (!takesForcedTool) drops.push("toolChoiceRequired");
  if (!claude) drops.push("parallelToolCallsOff");
  return { drops: features(...drops), rejects: features(...CHAT_REJECTS) };
}
