import type { FeatureName } from "../../protocol/features.js";
import { features } from "../../protocol/features.js";
import {
  type EncodedRequest,
  type FeatureSupport,
  type Provider,
  ProviderOptionError,
  type ProviderSettings,
} from "../provider.js";
import { modelPathSegment, parseBaseUrl } from "../shared/base-url.js";
import { CredentialHeader } from "../shared/credential-header.js";
import { type ChatUpstream, withLegacyCompletions } from "../shared/legacy-completions.js";
import { EMBEDDING_LIMITS, EmbeddingWriter } from "./embeddings.js";
import { errorOfGemini } from "./errors.js";
import { modelFacts } from "./model-facts.js";
import { geminiOptionNames, geminiSettings } from "./options.js";
import { RequestWriter } from "./request.js";
import { decodeModelList, decodeReply, nextPageToken } from "./response.js";
import { GeminiStream } from "./stream.js";

const BASE_URL = "https://generativelanguage.googleapis.com/v1beta";

/** Google's models through the Gemini API. @see https://ai.google.dev/api */
export const gemini: Provider = {
  name: "gemini",
  defaultBaseUrl: BASE_URL,
  apiKey: "required",
  ownOptions: geminiOptionNames,
  connect: (settings) => withLegacyCompletions(connect(settings)),
};

const DROPS: readonly FeatureName[] = ["logitBias", "parallelToolCallsOff", "prediction"];
const REJECTS: readonly FeatureName[] = ["audioOutput", "webSearch", "customTools", "legacyFunctions"];

/** Made once: every request of a kind sends the same object. Responses are wanted uncoded (S36). */
const GET_HEADERS = { accept: "application/json", "accept-encoding": "identity" };
const WHOLE_HEADERS = { ...GET_HEADERS, "content-type": "application/json" };
const STREAM_HEADERS = { ...WHOLE_HEADERS, accept: "text/event-stream" };

function connect(settings: ProviderSettings): ChatUpstream {
  const own = geminiSettings(settings.own);
  const { origin, host, path } = parseBaseUrl(settings.baseUrl ?? BASE_URL);
  const prefix = path === "" ? "/v1beta" : path;
  // Vertex AI serves the same chat with other ids and other embeddings.
  const isVertex = /(?:^|[.-])aiplatform\.googleapis\.com$/.test(host);
  const chat = new RequestWriter(own, { filesUrl: `${origin}${prefix}/files/`, sendsCallIds: !isVertex }, settings);
  const embeddings = new EmbeddingWriter(own, settings);
  const credential =
    own.auth === "bearer" ? new CredentialHeader("authorization", "Bearer ") : new CredentialHeader("x-goog-api-key");
  const get = (query: string): EncodedRequest => ({
    method: "GET",
    path: `${prefix}/models${query}`,
    headers: GET_HEADERS,
  });
  checkModel(settings.model);
  return {
    kind: "wire",
    host,
    origin,
    operations: {
      "chat.completions": supportOf(settings.model),
      ...(isVertex ? {} : { embeddings: { drops: 0, rejects: features("tokenInput") } }),
    },
    contentTypes: { whole: ["application/json"], stream: ["text/event-stream"] },
    encode(body, context) {
      const { model, isStreaming } = context;
      if (context.operation === "embeddings") {
        const { verb, text, dropped } = embeddings.write(body, modelName(model));
        return {
          method: "POST",
          path: `${prefix}/${modelPath(model)}:${verb}`,
          headers: WHOLE_HEADERS,
          body: text,
          dropped,
        };
      }
      const { text, dropped } = chat.write(body, context);
      const verb = isStreaming ? "streamGenerateContent?alt=sse" : "generateContent";
      const headers = isStreaming ? STREAM_HEADERS : WHOLE_HEADERS;
      return { method: "POST", path: `${prefix}/${modelPath(model)}:${verb}`, headers, body: text, dropped };
    },
    authorize: (request, apiKey) => credential.addTo(request, apiKey),
    decodeReply,
    openStream: (context) => new GeminiStream(context),
    embeddingLimits: () => EMBEDDING_LIMITS,
    decodeError: (response, context) => errorOfGemini(response, context.clock.wallNow()),
    modelList: {
      request: get("?pageSize=1000"),
      decode: decodeModelList,
      nextPage(text) {
        const token = nextPageToken(text);
        return token === undefined ? undefined : get(`?pageSize=1000&pageToken=${encodeURIComponent(token)}`);
      },
    },
    healthProbe: get("?pageSize=1"),
  };
}

/** Reasoning is dropped where the model cannot think; of a wildcard group that is known only later. */
function supportOf(model: string): FeatureSupport {
  const cannotThink = !model.includes("*") && modelFacts(model).thinking === "none";
  return {
    drops: features(...(cannotThink ? [...DROPS, "reasoningEffort" as const] : DROPS)),
    rejects: features(...REJECTS),
  };
}

/** As the service names it: `models/gemini-2.5-flash`; tuned models have a collection of their own. */
function modelName(model: string): string {
  return /^(?:models|tunedModels)\//.test(model) ? model : `models/${model}`;
}

/** The same as part of a path. @throws {UpstreamError} class `not_found`: no model can have that name (S5). */
function modelPath(model: string): string {
  const name = modelName(model);
  const slash = name.indexOf("/");
  return `${name.slice(0, slash)}/${modelPathSegment(name.slice(slash + 1))}`;
}

/** Without a wildcard wrong names are refused at once. */
function checkModel(model: string): void {
  if (model.includes("*")) return;
  try {
    modelPath(model);
  } catch {
    throw new ProviderOptionError("model", "Expected `model` to be a model's name: letters, digits and ._:@/- only.");
  }
}
