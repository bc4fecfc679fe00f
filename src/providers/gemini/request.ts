import type { RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import type { EncodedBody } from "../shared/encoded-body.js";
import { DroppedFields } from "../shared/encoded-body.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { ParameterRules } from "../shared/parameters.js";
import { type Conversation, convertMessages } from "./contents.js";
import { addResponseFormat, generationConfig } from "./generation-config.js";
import { type ModelFacts, modelFacts } from "./model-facts.js";
import type { GeminiSettings } from "./options.js";
import { parameters } from "./parameters.js";
import { planTools, type ToolPlan } from "./tools.js";

/** What a server knows of itself. */
export interface ServerFacts {
  /** Where the Files API has its files: `https://…/v1beta/files/`. */
  readonly filesUrl: string;
  /** Vertex AI does not know ids of function calls. */
  readonly sendsCallIds: boolean;
}

/** Writes the chat bodies of one deployment. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #settings: GeminiSettings;
  readonly #server: ServerFacts;
  readonly #rules: ParameterRules;

  constructor(settings: GeminiSettings, server: ServerFacts, { unknownFields }: ProviderSettings) {
    this.#settings = settings;
    this.#server = server;
    this.#rules = new ParameterRules(parameters["chat.completions"], unknownFields);
  }

  /** @throws {UpstreamError} class `invalid_request`, mostly with `lacksFeature`: the API has no words for it. */
  write(request: RequestBody, { model }: AttemptContext): EncodedBody {
    const body = request as unknown as JsonObject; // fields are looked up by name
    const report = new DroppedFields();
    const facts = modelFacts(model);
    const wire = this.#rules.forwarded(body, report);

    const { fetchesUrls } = facts;
    const conversation = convertMessages(body.messages, { ...this.#server, fetchesUrls, facts, report });
    const tools = planTools(body, report);
    const config = generationConfig(body, facts, report);
    const hasTools = tools.declarations.length > 0;
    const instruction = addResponseFormat(config, body.response_format, facts, hasTools, report);

    addConversation(wire, conversation, instruction, facts);
    addTools(wire, tools);
    if (Object.keys(config).length > 0) wire.generationConfig = config;
    if (this.#settings.safetySettings.length > 0) wire.safetySettings = this.#settings.safetySettings;
    return { text: JSON.stringify(wire), dropped: report.fields };
  }
}

function addConversation(
  wire: JsonObject,
  { system, contents }: Conversation,
  instruction: string | undefined,
  { hasSystemInstruction }: ModelFacts,
): void {
  const texts = instruction === undefined ? system : [...system, instruction];
  const parts = texts.map((text) => ({ text }));
  const isHoisted = parts.length > 0 && hasSystemInstruction;
  if (isHoisted) wire.systemInstruction = { parts };
  wire.contents = isHoisted || parts.length === 0 ? contents : withFirstParts(contents, parts);
}

/** Gemma takes instructions from the user only. */
function withFirstParts(contents: readonly JsonObject[], parts: readonly JsonObject[]): JsonObject[] {
  const [first, ...rest] = contents;
  const own = isJsonObject(first) && Array.isArray(first.parts) ? first.parts : [];
  return [{ ...first, parts: [...parts, ...own] }, ...rest];
}

function addTools(wire: JsonObject, { declarations, calling }: ToolPlan): void {
  if (declarations.length === 0) return;
  wire.tools = [{ functionDeclarations: declarations }];
  if (calling) wire.toolConfig = { functionCallingConfig: calling };
}
