import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../src/errors/upstream-error.js";
import { Feature, type FeatureName, featureNames, featureParam } from "../../src/protocol/features.js";
import type { Operation, RequestBody } from "../../src/protocol/operations.js";
import type { EncodedRequest, WireUpstream } from "../../src/providers/provider.js";
import { knownProviders } from "../../src/providers/registry.js";
import { legacyParameters } from "../../src/providers/shared/legacy-completions.js";
import type { ParameterTreatment } from "../../src/providers/shared/parameters.js";
import { anAttempt } from "../support/attempt-context.js";
import { openaiDialects, type TabledDialect, translatingDialects } from "../support/parameter-tables.js";
import { HI, type Json } from "../support/wire-upstreams.js";

const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false };
const tool = { type: "function", function: { name: "f", description: "F.", parameters: schema } };
const call = { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } };

const BASE: Readonly<Record<Operation, Json>> = {
  "chat.completions": { model: "group", messages: [HI] },
  completions: { model: "group", prompt: "Hi" },
  embeddings: { model: "group", input: "Hi" },
};

/** A value of each parameter that has an effect, with the fields that it needs beside it. */
const CHAT: Readonly<Record<string, unknown>> = {
  model: "group",
  messages: [
    { role: "developer", content: "Be brief." },
    HI,
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "done" },
  ],
  stream: true,
  stream_options: { include_usage: false },
  max_completion_tokens: 3_000,
  max_tokens: 3_000,
  temperature: 0.5,
  top_p: 0.5,
  top_k: 20,
  min_p: 0.1,
  repeat_penalty: 1.1,
  num_ctx: 4_096,
  n: 2,
  stop: "END",
  presence_penalty: 0.5,
  frequency_penalty: 0.5,
  logit_bias: { "1": 5 },
  logprobs: true,
  top_logprobs: 2,
  seed: 7,
  user: "u",
  response_format: { type: "json_schema", json_schema: { name: "a", schema } },
  tools: [tool],
  tool_choice: "auto",
  parallel_tool_calls: false,
  functions: [{ name: "f" }],
  function_call: "auto",
  reasoning_effort: "medium",
  thinking: { type: "enabled", budget_tokens: 1_024 },
  think: true,
  verbosity: "low",
  modalities: ["text", "audio"],
  audio: { voice: "alloy", format: "wav" },
  prediction: { type: "content", content: "x" },
  web_search_options: {},
  service_tier: "flex",
  safety_identifier: "s",
  store: true,
  metadata: { a: "b" },
  options: { mirostat: 1 },
  keep_alive: "5m",
  additionalModelRequestFields: { a: 1 },
};
const SAMPLES: Readonly<Record<Operation, Readonly<Record<string, unknown>>>> = {
  "chat.completions": CHAT,
  completions: { ...CHAT, prompt: ["Ho"], best_of: 2, echo: true, suffix: "!", logprobs: 2 },
  embeddings: {
    ...CHAT,
    input: ["Hi", "Ho"],
    encoding_format: "base64",
    dimensions: 256,
    input_type: "search_query",
  },
};
/** What a parameter is nothing without: it is there in both requests that are compared. */
const NEEDS: Readonly<Record<string, Json>> = {
  stream_options: { stream: true },
  top_logprobs: { logprobs: true },
  tool_choice: { tools: [tool] },
  parallel_tool_calls: { tools: [tool] },
  thinking: { max_tokens: 3_000 },
};
/** Said in the answer, or by nothing that could be compared. */
const LEAVES_NO_TRACE: ReadonlySet<string> = new Set(["model", "stream_options", "encoding_format"]);
/** Where another value has an effect. */
const SAMPLES_OF_DIALECT: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  anthropic: { service_tier: "auto" },
  ollama: { tool_choice: "none" },
};

function sampleOf(dialect: string, operation: Operation, field: string): unknown {
  const own = SAMPLES_OF_DIALECT[dialect];
  if (own && field in own) return own[field];
  return field in SAMPLES[operation] ? SAMPLES[operation][field] : { any: "thing" };
}

interface Outcome {
  readonly encoded: EncodedRequest | undefined;
  readonly json: Json;
  readonly error: UpstreamError | undefined;
}
function encode(upstream: WireUpstream, operation: Operation, body: Json, model = "wire-model"): Outcome {
  const context = anAttempt({ operation, isStreaming: body.stream === true, model });
  try {
    const encoded = upstream.encode(body as unknown as RequestBody, context); // any object may arrive
    return { encoded, json: JSON.parse(encoded.body ?? "null") as Json, error: undefined };
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    return { encoded: undefined, json: {}, error };
  }
}

/** What the encoder does with a parameter, told apart from the table. */
function observed(dialect: TabledDialect, operation: Operation, field: string): ParameterTreatment | "lost" {
  const upstream = dialect.connect(operation);
  const model = MODELS.get(dialect.name)?.(operation);
  const value = sampleOf(dialect.name, operation, field);
  const without: Json = { ...BASE[operation], ...NEEDS[field] };
  const { encoded, json, error } = encode(upstream, operation, { ...without, [field]: value }, model);
  if (error) return error.lacksFeature ? "refused" : "lost";
  const rejects = featureNames(upstream.operations[operation]?.rejects ?? 0);
  if (rejects.some((feature) => featureParam[feature] === field && ONLY_PARAM.has(feature))) return "refused";
  if (encoded?.dropped?.includes(field)) return field in json && json[field] === value ? "lost" : "dropped";
  if (encoded?.dropped) return "lost";
  if (JSON.stringify(json[field]) === JSON.stringify(value)) return "forwarded";
  const plain = encode(upstream, operation, without, model);
  const hasTrace = plain.encoded?.body !== encoded?.body || plain.encoded?.path !== encoded?.path;
  return hasTrace || LEAVES_NO_TRACE.has(field) ? "translated" : "lost";
}

/** Features that stand for the whole of their parameter. */
const ONLY_PARAM: ReadonlySet<FeatureName> = new Set<FeatureName>(["suffix", "echo", "bestOf", "multipleChoices"]);

const MODELS = new Map<string, (operation: Operation) => string>([
  ["anthropic", () => "claude-sonnet-4-5"],
  ["gemini", (operation: Operation) => (operation === "embeddings" ? "gemini-embedding-001" : "gemini-2.5-flash")],
  [
    "bedrock",
    (operation: Operation) =>
      operation === "embeddings" ? "cohere.embed-v4:0" : "anthropic.claude-sonnet-4-5-20250929-v1:0",
  ],
]);

const dialects = [...translatingDialects, ...openaiDialects];
const rows = dialects.flatMap((dialect) =>
  Object.entries(dialect.tables).map(([operation, table]) => ({
    dialect,
    operation: operation as Operation, // the keys of tables are operations
    table,
    title: `${dialect.name}: ${operation}`,
  })),
);

describe("the tables of request parameters", () => {
  it("are there for every provider that has a wire", () => {
    const named = new Set(dialects.map(({ name }) => name));
    expect([...knownProviders.keys()].filter((name) => !named.has(name))).toEqual(["simulated"]);
  });

  it("name every operation of the provider, but for legacy completions through chat", () => {
    for (const { name, tables, connect } of dialects) {
      const has = (["chat.completions", "completions", "embeddings"] as const).filter(
        (operation) => connect(operation).operations[operation],
      );
      const throughChat = translatingDialects.some((dialect) => dialect.name === name) ? ["completions"] : [];
      // Bedrock's chat models embed nothing, and its embedding models do not chat.
      for (const operation of has) expect([...Object.keys(tables), ...throughChat]).toContain(operation);
    }
  });

  it.each(rows)("$title: every row tells what the encoder does", ({ dialect, operation, table }) => {
    const actual = Object.fromEntries(
      Object.entries(table).map(([field, treatment]) => {
        const found = observed(dialect, operation, field);
        // What a translating dialect says in its words may be the same word.
        const isSameWord = translatingDialects.includes(dialect) && treatment === "translated" && found === "forwarded";
        return [field, isSameWord ? "translated" : found];
      }),
    );
    expect(actual).toEqual(table);
  });

  it.each(translatingDialects)("$name: legacy completions keep to theirs", ({ name, connect }) => {
    const upstream = connect("completions");
    const model = MODELS.get(name)?.("completions");
    for (const [field, treatment] of Object.entries(legacyParameters)) {
      const body = { ...BASE.completions, [field]: SAMPLES.completions[field] };
      const { error } = encode(upstream, "completions", body, model);
      expect([field, error?.lacksFeature]).toEqual([field, treatment === "refused" ? true : undefined]);
    }
  });
});

/** A body that asks for the feature, and the fields that would be reported if it were dropped. */
const FEATURES: Readonly<Record<Operation, Partial<Record<FeatureName, Json>>>> = {
  "chat.completions": {
    tools: { tools: [tool] },
    toolChoiceRequired: { tools: [tool], tool_choice: "required" },
    parallelToolCallsOff: { tools: [tool], parallel_tool_calls: false },
    imageUrl: { messages: [userWith({ type: "image_url", image_url: { url: "https://example.com/a.png" } })] },
    imageData: { messages: [userWith({ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } })] },
    audioInput: { messages: [userWith({ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } })] },
    audioOutput: { modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } },
    file: {
      messages: [
        userWith({ type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AAAA" } }),
      ],
    },
    jsonObject: { response_format: { type: "json_object" } },
    jsonSchema: { response_format: { type: "json_schema", json_schema: { name: "a", schema } } },
    logprobs: { logprobs: true, top_logprobs: 2 },
    multipleChoices: { n: 2 },
    seed: { seed: 7 },
    logitBias: { logit_bias: { "1": 5 } },
    penalties: { presence_penalty: 0.5, frequency_penalty: 0.5 },
    stop: { stop: "END" },
    prediction: { prediction: { type: "content", content: "x" } },
    webSearch: { web_search_options: {} },
    customTools: { tools: [{ type: "custom", custom: { name: "c" } }] },
    reasoningEffort: { reasoning_effort: "medium" },
    legacyFunctions: { functions: [{ name: "f" }], function_call: "auto" },
  },
  completions: {
    tokenInput: { prompt: [1, 2] },
    logprobs: { logprobs: 2 },
    multipleChoices: { n: 2 },
    seed: { seed: 7 },
    logitBias: { logit_bias: { "1": 5 } },
    penalties: { presence_penalty: 0.5, frequency_penalty: 0.5 },
    stop: { stop: "END" },
    suffix: { suffix: "!" },
    echo: { echo: true },
    bestOf: { best_of: 2 },
  },
  embeddings: { tokenInput: { input: [1, 2] }, dimensions: { dimensions: 256 } },
};

function userWith(part: Json): Json {
  return { role: "user", content: [{ type: "text", text: "See." }, part] };
}

describe("what deployments are chosen by", () => {
  it.each(rows)("$title: features that are dropped or rejected are those of the encoder", ({ dialect, operation }) => {
    const upstream = dialect.connect(operation);
    const model = MODELS.get(dialect.name)?.(operation);
    const { drops, rejects } = upstream.operations[operation] ?? { drops: 0, rejects: 0 };
    for (const name of Object.keys(FEATURES[operation]) as FeatureName[]) {
      const fields = FEATURES[operation][name] ?? {};
      const { encoded, error } = encode(upstream, operation, { ...BASE[operation], ...fields }, model);
      const isReported = encoded?.dropped?.some((field) => field.split(".")[0]! in fields) ?? false;
      const isRejected = (rejects & Feature[name]) !== 0;
      // Whoever cannot take it does not get it: what the encoder would make of it is of no account then.
      if (isRejected) continue;
      expect([name, error?.message]).toEqual([name, undefined]);
      expect([name, isReported ? "dropped" : "kept"]).toEqual([name, drops & Feature[name] ? "dropped" : "kept"]);
    }
  });
});
