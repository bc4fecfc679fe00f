import type { FeatureName } from "../../protocol/features.js";
import { features } from "../../protocol/features.js";
import { ollamaV1, withoutLatest } from "../openai/facts/ollama.js";
import { openaiProvider } from "../openai/index.js";
import { type EncodedRequest, type Provider, ProviderOptionError, type ProviderSettings } from "../provider.js";
import { parseBaseUrl } from "../shared/base-url.js";
import { CredentialHeader } from "../shared/credential-header.js";
import { errorOfResponse } from "../shared/errors.js";
import { type ChatUpstream, withLegacyCompletions } from "../shared/legacy-completions.js";
import { errorFacts } from "./errors.js";
import { contextTokens, type OllamaSettings, ollamaOptionNames, ollamaSettings } from "./options.js";
import { RequestWriter } from "./request.js";
import { decodeModelList, decodeReply } from "./response.js";
import { OllamaStream } from "./stream.js";

const BASE_URL = "http://127.0.0.1:11434";

const openaiSurface = openaiProvider(ollamaV1);

/** Ollama, through its own API unless the deployment says otherwise. @see https://docs.ollama.com/api */
export const ollama: Provider = {
  name: "ollama",
  defaultBaseUrl: BASE_URL,
  apiKey: "optional",
  ownOptions: ollamaOptionNames,
  loadsModelsOnDemand: true,
  connect(settings) {
    const own = ollamaSettings(settings.own);
    if (own.dialect === "native") return withLegacyCompletions(connect(settings, own));
    for (const option of ["options", "keepAlive", "truncate"]) {
      if (settings.own[option] === undefined) continue;
      throw new ProviderOptionError(
        option,
        `Expected no \`${option}\` with \`dialect: "openai"\`: /v1 has no words for it.`,
      );
    }
    return openaiSurface.connect(settings);
  },
};

const CHAT_DROPS: readonly FeatureName[] = [
  "toolChoiceRequired",
  "parallelToolCallsOff",
  "logitBias",
  "prediction",
  "webSearch",
];
const CHAT_REJECTS: readonly FeatureName[] = [
  "multipleChoices",
  "imageUrl",
  "file",
  "audioOutput",
  "customTools",
  "legacyFunctions",
];

/** Made once: every request of a kind sends the same object. Responses are wanted uncoded (S36). */
const GET_HEADERS = { accept: "application/json", "accept-encoding": "identity" };
const WHOLE_HEADERS = { ...GET_HEADERS, "content-type": "application/json" };
const STREAM_HEADERS = { ...WHOLE_HEADERS, accept: "application/x-ndjson" };

function connect(settings: ProviderSettings, own: OllamaSettings): ChatUpstream {
  const { origin, host, path } = parseBaseUrl(settings.baseUrl ?? BASE_URL);
  // The server's root; some give it with one of its interfaces.
  const root = path.replace(/\/(?:v1|api)$/, "");
  const writer = new RequestWriter(own, settings);
  const credential = new CredentialHeader("authorization", "Bearer ");
  const promptLimit = own.truncate ? undefined : contextTokens(own);
  const get = (name: string): EncodedRequest => ({ method: "GET", path: `${root}/api/${name}`, headers: GET_HEADERS });
  return {
    kind: "wire",
    host,
    origin,
    operations: {
      "chat.completions": { drops: features(...CHAT_DROPS), rejects: features(...CHAT_REJECTS) },
      embeddings: { drops: 0, rejects: features("tokenInput") },
    },
    contentTypes: { whole: ["application/json"], stream: ["application/x-ndjson", "application/ndjson"] },
    encode(body, context) {
      const { text, dropped } = writer.write(body, context);
      return {
        method: "POST",
        path: context.operation === "embeddings" ? `${root}/api/embed` : `${root}/api/chat`,
        headers: context.isStreaming ? STREAM_HEADERS : WHOLE_HEADERS,
        body: text,
        dropped,
      };
    },
    authorize: (request, apiKey) => credential.addTo(request, apiKey),
    decodeReply: (response, context) => decodeReply(response, context, promptLimit),
    openStream: (context) => new OllamaStream(context, promptLimit),
    decodeError: (response, context) => errorOfResponse(errorFacts, response, context.clock.wallNow()),
    modelList: { request: get("tags"), decode: decodeModelList, otherNameOf: withoutLatest },
    healthProbe: get("version"),
  };
}
