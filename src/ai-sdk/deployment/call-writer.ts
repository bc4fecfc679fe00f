import type { RequestBody } from "../../protocol/operations.js";
import type { ProviderSettings } from "../../providers/provider.js";
import type { DroppedFields } from "../../providers/shared/encoded-body.js";
import { isJsonObject, type JsonObject } from "../../providers/shared/json-object.js";
import { ParameterRules } from "../../providers/shared/parameters.js";
import type { SpecificationVersion } from "../specification.js";
import { parameters } from "./parameters.js";
import { PromptWriter, type SupportedUrls } from "./prompt.js";

/** What every call of a model carries, as the deployment's owner says. */
export interface FixedCallOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly providerOptions?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
}

/** Chat requests as the options of `doGenerate` and `doStream`. */
export class CallWriter {
  readonly #rules: ParameterRules;

  constructor(
    private readonly version: SpecificationVersion,
    private readonly fixed: FixedCallOptions,
    unknownFields: ProviderSettings["unknownFields"],
  ) {
    // Version 4 was the first to know how much a model should reason.
    const table = parameters["chat.completions"];
    this.#rules = new ParameterRules(
      version === "v4" ? table : { ...table, reasoning_effort: "dropped" },
      unknownFields,
    );
  }

  /**
   * @param report - Gets the fields that are left out.
   * @throws {UpstreamError} class `invalid_request`: the request cannot be expressed.
   */
  write(request: RequestBody, supportedUrls: SupportedUrls, signal: AbortSignal, report: DroppedFields): JsonObject {
    const body = request as unknown as JsonObject; // fields are looked up by name
    // A model takes no fields but its own: there is nowhere to forward the others to.
    for (const field of Object.keys(this.#rules.forwarded(body, report))) report.add(field);
    const options: JsonObject = {
      ...this.fixed,
      prompt: new PromptWriter(this.version, supportedUrls).write(body.messages),
      abortSignal: signal,
    };
    const maxOutputTokens = body.max_completion_tokens ?? body.max_tokens;
    setNumbers(options, {
      maxOutputTokens,
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k,
      presencePenalty: body.presence_penalty,
      frequencyPenalty: body.frequency_penalty,
      seed: body.seed,
    });
    if (typeof body.stop === "string") options.stopSequences = [body.stop];
    else if (Array.isArray(body.stop)) options.stopSequences = body.stop;
    const responseFormat = responseFormatOf(body.response_format);
    if (responseFormat) options.responseFormat = responseFormat;
    if (this.version === "v4" && typeof body.reasoning_effort === "string") options.reasoning = body.reasoning_effort;
    this.#setTools(options, body, report);
    return options;
  }

  #setTools(options: JsonObject, { tools, tool_choice }: JsonObject, report: DroppedFields): void {
    if (!Array.isArray(tools) || tools.length === 0) return;
    const { allowed, toolChoice } = choiceOf(tool_choice, report);
    options.tools = tools.filter(isJsonObject).flatMap((tool) => {
      if (!isJsonObject(tool.function)) {
        report.add("tools");
        return [];
      }
      const { name, description, parameters: schema, strict } = tool.function;
      if (allowed && !allowed.has(name)) return [];
      const definition: JsonObject = {
        type: "function",
        name,
        inputSchema: isJsonObject(schema) ? schema : { type: "object", properties: {} },
      };
      if (typeof description === "string") definition.description = description;
      if (typeof strict === "boolean" && this.version !== "v2") definition.strict = strict;
      return [definition];
    });
    if (toolChoice) options.toolChoice = toolChoice;
  }
}

interface Choice {
  /** Names of the tools that may be called; all, where it is missing. */
  readonly allowed?: ReadonlySet<unknown> | undefined;
  readonly toolChoice?: JsonObject | undefined;
}

function choiceOf(choice: unknown, report: DroppedFields): Choice {
  if (choice === "none" || choice === "auto" || choice === "required") return { toolChoice: { type: choice } };
  if (!isJsonObject(choice)) return {};
  if (choice.type === "function" && isJsonObject(choice.function)) {
    return { toolChoice: { type: "tool", toolName: choice.function.name } };
  }
  const { allowed_tools: list } = choice;
  if (choice.type === "allowed_tools" && isJsonObject(list) && Array.isArray(list.tools)) {
    const names = list.tools.map((tool) =>
      isJsonObject(tool) && isJsonObject(tool.function) ? tool.function.name : "",
    );
    return { allowed: new Set(names), toolChoice: { type: list.mode === "required" ? "required" : "auto" } };
  }
  report.add("tool_choice");
  return {};
}

function responseFormatOf(format: unknown): JsonObject | undefined {
  if (!isJsonObject(format)) return undefined;
  if (format.type === "json_object") return { type: "json" };
  const { json_schema: described } = format;
  if (format.type !== "json_schema" || !isJsonObject(described)) return undefined;
  const { name, description, schema } = described;
  const responseFormat: JsonObject = { type: "json" };
  if (isJsonObject(schema)) responseFormat.schema = schema;
  if (typeof name === "string") responseFormat.name = name;
  if (typeof description === "string") responseFormat.description = description;
  return responseFormat;
}

function setNumbers(options: JsonObject, numbers: JsonObject): void {
  for (const [name, value] of Object.entries(numbers)) if (typeof value === "number") options[name] = value;
}
