import type { FeatureName } from "../../protocol/features.js";
import { features } from "../../protocol/features.js";
import type { EncodedRequest, FeatureSupport, Provider, ProviderSettings } from "../provider.js";
import { parseBaseUrl } from "../shared/base-url.js";
import { modelFacts } from "../shared/claude/model-facts.js";
import { CredentialHeader } from "../shared/credential-header.js";
import { errorOfResponse } from "../shared/errors.js";
import { type ChatUpstream, withLegacyCompletions } from "../shared/legacy-completions.js";
import { ANTHROPIC_LIMITS } from "../shared/rate-limit-headers.js";
import { errorFacts } from "./errors.js";
import { type AnthropicSettings, anthropicOptionNames, anthropicSettings } from "./options.js";
import { RequestWriter } from "./request.js";
import { decodeModelList, decodeReply, lastOfPage } from "./response.js";
import { AnthropicStream } from "./stream.js";

const BASE_URL = "https://api.anthropic.com";

/** Claude's models through Anthropic's Messages API. @see https://docs.claude.com/en/api/messages */
export const anthropic: Provider = {
  name: "anthropic",
  defaultBaseUrl: BASE_URL,
  apiKey: "required",
  ownOptions: anthropicOptionNames,
  connect: (settings) => withLegacyCompletions(connect(settings)),
};

const DROPS: readonly FeatureName[] = ["logprobs", "seed", "logitBias", "penalties", "prediction", "jsonObject"];
const REJECTS: readonly FeatureName[] = [
  "audioInput",
  "audioOutput",
  "multipleChoices",
  "webSearch",
  "customTools",
  "legacyFunctions",
];

function connect(settings: ProviderSettings): ChatUpstream {
  const own = anthropicSettings(settings.own);
  const { origin, host, path } = parseBaseUrl(settings.baseUrl ?? BASE_URL);
  // The API's root is without a version; some give it with one.
  const prefix = `${path.replace(/\/v1$/, "")}/v1`;
  const headers = headersOf(own);
  const writer = new RequestWriter(own, settings);
  const credential =
    own.auth === "bearer" ? new CredentialHeader("authorization", "Bearer ") : new CredentialHeader("x-api-key");
  const get = (query: string): EncodedRequest => ({
    method: "GET",
    path: `${prefix}/models${query}`,
    headers: headers.get,
  });
  return {
    kind: "wire",
    host,
    origin,
    operations: { "chat.completions": supportOf(settings.model, own) },
    // Of servers that are only compatible nothing is known.
    takesPrefill: (model) => /claude/i.test(model) && !model.includes("*") && modelFacts(model).takesPrefill,
    contentTypes: { whole: ["application/json"], stream: ["text/event-stream"] },
    encode(body, context) {
      const { text, dropped } = writer.write(body, context);
      return {
        method: "POST",
        path: `${prefix}/messages`,
        headers: context.isStreaming ? headers.stream : headers.whole,
        body: text,
        dropped,
      };
    },
    authorize: (request, apiKey) => credential.addTo(request, apiKey),
    decodeReply,
    openStream: (context) => new AnthropicStream(context),
    decodeError: (response, context) => errorOfResponse(errorFacts, response, context.clock.wallNow()),
    rateLimitHeaders: ANTHROPIC_LIMITS,
    modelList: {
      request: get("?limit=1000"),
      decode: decodeModelList,
      nextPage(text) {
        const after = lastOfPage(text);
        return after === undefined ? undefined : get(`?limit=1000&after_id=${encodeURIComponent(after)}`);
      },
    },
    healthProbe: get("?limit=1"),
  };
}

/** Reasoning is dropped where the model cannot think; of a wildcard group that is known only later. */
function supportOf(model: string, { thinking }: AnthropicSettings): FeatureSupport {
  const cannotThink = !model.includes("*") && (thinking ?? modelFacts(model).thinking) === "none";
  const drops = cannotThink ? [...DROPS, "reasoningEffort" as const] : DROPS;
  return { drops: features(...drops), rejects: features(...REJECTS) };
}

/** Made once: every request of a kind sends the same object. Responses are wanted uncoded (S36). */
function headersOf({ anthropicVersion, anthropicBeta }: AnthropicSettings) {
  const get = {
    accept: "application/json",
    "accept-encoding": "identity",
    "anthropic-version": anthropicVersion,
    ...(anthropicBeta.length === 0 ? {} : { "anthropic-beta": anthropicBeta.join(",") }),
  };
  const whole = { ...get, "content-type": "application/json" };
  return { get, whole, stream: { ...whole, accept: "text/event-stream" } };
}
