import type { Chunk, Operation, Reply, RequestBody } from "../../protocol/operations.js";
import type {
  AttemptContext,
  EmbeddingLimits,
  EncodedRequest,
  FeatureSupport,
  ProviderSettings,
  RelayPiece,
  StreamDecoder,
  WholeResponse,
  WireUpstream,
} from "../provider.js";
import { CredentialHeader } from "../shared/credential-header.js";
import { errorOfResponse } from "../shared/errors.js";
import { chatChoices } from "./chat-choices.js";
import { completionChoices } from "./completions.js";
import type { AuthorizationHeader, OpenAiFacts, Surface } from "./facts.js";
import { KnownShapes } from "./known-shapes.js";
import { loadSignalsOf } from "./load-signals.js";
import { decodeModelList } from "./models.js";
import { RequestWriter } from "./request.js";
import { decodeReply } from "./response.js";
import { type ChunkForm, chunkForm, RepairedStream, textForm } from "./stream.js";
import { surfaceBelow } from "./surface.js";

type Headers = Readonly<Record<string, string>>;

/** Made once: every request of a kind sends the same object. Responses are wanted uncoded (S36). */
const WHOLE_HEADERS: Headers = {
  "content-type": "application/json",
  accept: "application/json",
  "accept-encoding": "identity",
};
const STREAM_HEADERS: Headers = { ...WHOLE_HEADERS, accept: "text/event-stream" };
const GET_HEADERS: Headers = { accept: "application/json", "accept-encoding": "identity" };

const METRICS_HEADERS: Headers = { accept: "text/plain", "accept-encoding": "identity" };

const BEARER: AuthorizationHeader = { name: "authorization", prefix: "Bearer " };

/** One deployment's server behind OpenAI's dialect. */
export class OpenAiUpstream implements WireUpstream {
  readonly kind = "wire";
  readonly host: string;
  readonly origin: string;
  readonly operations: Readonly<Partial<Record<Operation, FeatureSupport>>>;
  readonly contentTypes = { whole: ["application/json", "text/json"], stream: ["text/event-stream"] } as const;
  readonly modelList: NonNullable<WireUpstream["modelList"]>;
  readonly healthProbe: EncodedRequest;
  readonly loadSignals: WireUpstream["loadSignals"];
  readonly rateLimitHeaders: WireUpstream["rateLimitHeaders"];
  readonly #facts: OpenAiFacts;
  readonly #surface: Surface;
  readonly #writer: RequestWriter;
  readonly #credential: CredentialHeader;
  readonly #shapes = new KnownShapes();

  constructor(facts: OpenAiFacts, settings: ProviderSettings) {
    const surface = facts.locate ? facts.locate(settings) : surfaceBelow(facts, settings);
    this.#facts = facts;
    this.#surface = surface;
    this.#writer = new RequestWriter(facts, settings);
    const { name, prefix } = facts.authorization?.(settings) ?? BEARER;
    this.#credential = new CredentialHeader(name, prefix);
    this.host = surface.host;
    this.origin = surface.origin;
    this.operations = supportOf(facts);
    this.modelList = {
      request: { method: "GET", path: surface.modelListPath, headers: GET_HEADERS },
      decode: (text) => decodeModelList(text, facts.answer?.modelOwner ?? facts.name),
      otherNameOf: facts.otherModelName,
    };
    this.healthProbe = { method: "GET", path: surface.healthPath, headers: GET_HEADERS };
    this.rateLimitHeaders = facts.rateLimitHeaders;
    const { loadMetrics } = facts;
    this.loadSignals =
      loadMetrics &&
      loadSignalsOf(loadMetrics, settings.model, (path) => ({
        method: "GET",
        path: (surface.rootPath ?? "") + path,
        headers: METRICS_HEADERS,
      }));
  }

  encode(body: RequestBody, context: AttemptContext): EncodedRequest {
    const { text, dropped } = this.#writer.write(body, context);
    return {
      method: "POST",
      path: this.#surface.pathOf(context.operation, context.model),
      headers: context.isStreaming ? STREAM_HEADERS : WHOLE_HEADERS,
      body: text,
      dropped,
    };
  }

  authorize(request: EncodedRequest, apiKey: string | undefined): EncodedRequest {
    return this.#credential.addTo(request, apiKey);
  }

  decodeReply(response: WholeResponse, context: AttemptContext): Reply {
    return decodeReply(this.#facts, response, context);
  }

  openStream(context: AttemptContext): StreamDecoder<Chunk> {
    return openRepairedStream(this.#facts, context, chunkForm);
  }

  openTextStream(context: AttemptContext): StreamDecoder<RelayPiece> {
    return openRepairedStream(this.#facts, context, textForm, true, this.#shapes);
  }

  takesPrefill(): boolean {
    return this.#facts.takesPrefill ?? false;
  }

  embeddingLimits(): EmbeddingLimits | undefined {
    return this.#facts.embeddingLimits;
  }

  decodeError(response: WholeResponse, context: AttemptContext) {
    return errorOfResponse(this.#facts.errors, response, context.clock.wallNow());
  }
}

/** @param splices - See {@link RepairedStream}; so is `known`. */
export function openRepairedStream<T>(
  facts: OpenAiFacts,
  context: AttemptContext,
  form: ChunkForm<T>,
  splices = true,
  known?: KnownShapes,
): StreamDecoder<T> {
  return context.operation === "completions"
    ? new RepairedStream(facts, context, completionChoices, form, splices)
    : new RepairedStream(facts, context, chatChoices(facts.answer, context), form, splices, known);
}

function supportOf(facts: OpenAiFacts): Readonly<Partial<Record<Operation, FeatureSupport>>> {
  const support: Partial<Record<Operation, FeatureSupport>> = {};
  for (const [operation, { drops = 0, rejects = 0 }] of Object.entries(facts.operations)) {
    // The keys of `operations` are operations.
    support[operation as Operation] = { drops, rejects };
  }
  return support;
}
