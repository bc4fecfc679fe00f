import { readdirSync, readFileSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { featureNames } from "../../../../src/protocol/features.js";
import { ProviderOptionError, type ProviderSettings } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { chat, connectWire, send, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0";
const here = { model: MODEL, region: "us-east-1" };
const KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret-key-for-signing-tests" };

function optionError(settings: Partial<ProviderSettings>): ProviderOptionError {
  try {
    connectWire("bedrock", { ...here, ...settings });
  } catch (error) {
    if (error instanceof ProviderOptionError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("an upstream of Bedrock", () => {
  it("is Converse for chat, with the model as one segment of the path", () => {
    const whole = send("bedrock", chat(), here);
    expect(whole).toMatchObject({ method: "POST", path: `/model/${encodeURIComponent(MODEL)}/converse` });
    expect(whole.headers).toEqual({
      accept: "application/json",
      "accept-encoding": "identity",
      "content-type": "application/json",
    });
    const streamed = send("bedrock", chat({ stream: true }), here);
    expect(streamed.path).toBe(`/model/${encodeURIComponent(MODEL)}/converse-stream`);
    expect(streamed.headers.accept).toBe("application/vnd.amazon.eventstream");
    expect(streamed.json).toEqual(whole.json);
    const arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.meta.llama4-v1:0";
    expect(send("bedrock", chat(), { ...here, model: arn }).path).toBe(`/model/${encodeURIComponent(arn)}/converse`);
  });

  it("S5: calls no path that a model's name makes up", () => {
    for (const model of ["../admin", "a/../../b", "a?b", "a b", "ü"]) {
      const run = () => connectWire("bedrock", { ...here, model: "*" }).encode(chat() as never, anAttempt({ model })); // any object may arrive
      expect(upstreamErrorOf(run), model).toMatchObject({ errorClass: "not_found" });
    }
  });

  it.each<[Partial<ProviderSettings>, string, string | undefined]>([
    [{}, "https://bedrock-runtime.us-east-1.amazonaws.com", "https://bedrock.us-east-1.amazonaws.com"],
    [
      { region: "us-gov-west-1" },
      "https://bedrock-runtime.us-gov-west-1.amazonaws.com",
      "https://bedrock.us-gov-west-1.amazonaws.com",
    ],
    [
      { region: "cn-north-1" },
      "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
      "https://bedrock.cn-north-1.amazonaws.com.cn",
    ],
    [
      { region: undefined, baseUrl: "https://bedrock-runtime.eu-west-3.amazonaws.com" },
      "https://bedrock-runtime.eu-west-3.amazonaws.com",
      "https://bedrock.eu-west-3.amazonaws.com",
    ],
    [
      { region: "eu", baseUrl: "https://bedrock-runtime-fips.us-west-2.amazonaws.com" },
      "https://bedrock-runtime-fips.us-west-2.amazonaws.com",
      undefined,
    ],
    [
      { region: undefined, baseUrl: "https://vpce-1.bedrock-runtime.us-west-2.vpce.amazonaws.com" },
      "https://vpce-1.bedrock-runtime.us-west-2.vpce.amazonaws.com",
      undefined,
    ],
    [{ baseUrl: "http://127.0.0.1:4566" }, "http://127.0.0.1:4566", undefined],
  ])("with %j is at %s", (settings, origin, controlOrigin) => {
    const upstream = connectWire("bedrock", { ...here, ...settings });
    expect(upstream.origin).toBe(origin);
    expect(upstream.modelList?.request.origin).toBe(controlOrigin);
    expect(upstream.healthProbe).toBeUndefined();
  });

  it("signs for the region of the address, whatever the deployment's owner calls it", async () => {
    const settings = { ...here, region: "eu", baseUrl: "https://bedrock-runtime.eu-west-3.amazonaws.com", own: KEYS };
    const upstream = connectWire("bedrock", settings);
    const signed = await upstream.authorize(send("bedrock", chat(), settings), undefined);
    expect(signed.headers.authorization).toContain("/20260101/eu-west-3/bedrock/aws4_request");
  });

  it.each([undefined, "eu", "us-east-1.evil.example", "US-EAST-1", "x"])(
    "needs the region of AWS, not %j",
    (region) => {
      expect(optionError({ region }).path).toBe("region");
    },
  );

  it("goes below a path where a proxy has one", () => {
    expect(send("bedrock", chat(), { ...here, baseUrl: "https://proxy.example/aws/" }).path).toMatch(/^\/aws\/model\//);
  });

  it("lists the models of the region that write or embed", async () => {
    const { modelList } = connectWire("bedrock", here);
    expect(modelList?.request).toMatchObject({ method: "GET", path: "/foundation-models" });
    const modelSummaries = [
      { modelId: "amazon.nova-lite-v1:0", providerName: "Amazon", outputModalities: ["TEXT"] },
      { modelId: "amazon.titan-embed-text-v2:0", outputModalities: ["EMBEDDING"] },
      { modelId: "stability.sd3", outputModalities: ["IMAGE"] },
      { modelId: "unknown" },
      { modelName: "nameless" },
      5,
    ];
    expect(modelList?.decode(JSON.stringify({ modelSummaries }))).toEqual([
      { id: "amazon.nova-lite-v1:0", object: "model", created: 0, owned_by: "Amazon" },
      { id: "amazon.titan-embed-text-v2:0", object: "model", created: 0, owned_by: "bedrock" },
      { id: "unknown", object: "model", created: 0, owned_by: "bedrock" },
    ]);
    expect(() => modelList?.decode("{}")).toThrow(expect.objectContaining({ isBadResponse: true }));
    const signed = await connectWire("bedrock", { ...here, own: KEYS }).authorize(
      modelList?.request as never,
      undefined,
    ); // it is there, see above
    expect(signed.headers.authorization).toMatch(/SignedHeaders=host;x-amz-date,/);
    expect(signed.headers["x-amz-date"]).toMatch(/^\d{8}T\d{6}Z$/);
  });

  it.each<[string, string[], string[], string[]]>([
    [MODEL, ["chat.completions", "completions"], ["reasoningEffort"], ["parallelToolCallsOff", "toolChoiceRequired"]],
    ["us.anthropic.claude-sonnet-4-5-20250929-v1:0", ["chat.completions", "completions"], [], ["reasoningEffort"]],
    ["anthropic.claude-v2:1", ["chat.completions", "completions"], ["reasoningEffort"], []],
    [
      "us.meta.llama3-3-70b-instruct-v1:0",
      ["chat.completions", "completions"],
      ["reasoningEffort", "toolChoiceRequired", "parallelToolCallsOff"],
      [],
    ],
    ["openai.gpt-oss-20b-1:0", ["chat.completions", "completions"], ["parallelToolCallsOff"], ["reasoningEffort"]],
    ["amazon.titan-embed-text-v2:0", ["embeddings"], [], []],
    ["*", ["chat.completions", "completions", "embeddings"], [], ["reasoningEffort"]],
  ])("of the model %s has %j, and leaves out %j", (model, operations, drops, keeps) => {
    const support = connectWire("bedrock", { ...here, model }).operations;
    expect(Object.keys(support).sort()).toEqual([...operations].sort());
    const dropped = featureNames(support["chat.completions"]?.drops ?? 0) as string[];
    for (const name of drops) expect(dropped).toContain(name);
    for (const name of keeps) expect(dropped).not.toContain(name);
  });
});

describe("credentials of Bedrock", () => {
  it("are a key of Bedrock's, as a bearer token", async () => {
    const upstream = connectWire("bedrock", here);
    const encoded = send("bedrock", chat(), here);
    expect((await upstream.authorize(encoded, "ABSK-1")).headers).toEqual({
      ...encoded.headers,
      authorization: "Bearer ABSK-1",
    });
    expect(upstreamErrorOf(() => upstream.authorize(encoded, "ABSK\n1"))).toMatchObject({
      errorClass: "authentication",
    });
  });

  it("are an access key, and with it a time in every request", async () => {
    const settings = { ...here, own: { ...KEYS, sessionToken: "token//==" } };
    const encoded = send("bedrock", chat(), settings);
    expect(encoded.headers["x-amz-date"]).toBe("20260101T000000Z");
    const { headers } = await connectWire("bedrock", settings).authorize(encoded, undefined);
    expect(headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20260101\/us-east-1\/bedrock\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
    );
    expect(headers["x-amz-security-token"]).toBe("token//==");
  });

  it("are a function", async () => {
    const settings = { ...here, own: { credentials: async () => KEYS } };
    const signed = await connectWire("bedrock", settings).authorize(send("bedrock", chat(), settings), undefined);
    expect(signed.headers.authorization).toContain("Credential=AKIDEXAMPLE/");
  });

  it("that are missing are reported when the router is made, or at the latest when they are needed", () => {
    expect(optionError({ hasApiKey: false }).path).toBe("apiKey");
    expect(() => connectWire("bedrock", { ...here, hasApiKey: true })).not.toThrow();
    const upstream = connectWire("bedrock", here);
    const run = () => upstream.authorize(send("bedrock", chat(), here), undefined);
    expect(upstreamErrorOf(run)).toMatchObject({ errorClass: "authentication" });
  });

  it.each<[string, Partial<ProviderSettings>]>([
    ["accessKeyId", { hasApiKey: true, own: KEYS }],
    ["credentials", { own: { ...KEYS, credentials: () => KEYS } }],
    ["credentials", { hasApiKey: true, own: { credentials: () => KEYS } }],
    ["secretAccessKey", { own: { accessKeyId: KEYS.accessKeyId } }],
    ["accessKeyId", { own: { secretAccessKey: KEYS.secretAccessKey } }],
    ["accessKeyId", { own: { sessionToken: "token" } }],
    ["secretAccessKey", { own: { ...KEYS, secretAccessKey: "" } }],
    ["accessKeyId", { own: { ...KEYS, accessKeyId: "with blank" } }],
    ["credentials", { own: { credentials: KEYS } }],
    ["baseModel", { own: { ...KEYS, baseModel: "a b" } }],
    ["inputType", { own: { ...KEYS, inputType: "image" } }],
    ["guardrail", { own: { ...KEYS, guardrail: "gr-1" } }],
    ["guardrail", { own: { ...KEYS, guardrail: { identifier: "gr-1", version: 1 } } }],
  ])("and other options are refused where `%s` is wrong", (path, settings) => {
    const error = optionError(settings);
    expect(error.path).toBe(path);
    expect(error.message).not.toContain(KEYS.secretAccessKey);
  });

  it("S18: are in nothing that is printed, and no message repeats them", () => {
    const secret = "not a key: contains blanks";
    for (const name of ["accessKeyId", "secretAccessKey", "sessionToken", "credentials"]) {
      expect(optionError({ own: { ...KEYS, [name]: secret } }).message).not.toContain("contains blanks");
    }
    const upstream = connectWire("bedrock", { ...here, own: { ...KEYS, sessionToken: "session-token-of-tests" } });
    const printed = inspect(upstream, { depth: 9, showHidden: true }) + JSON.stringify(upstream);
    expect(printed).not.toContain(KEYS.secretAccessKey);
    expect(printed).not.toContain("session-token-of-tests");
  });
});

describe("the packages of AWS", () => {
  it("S44: are imported by nothing but this dialect, and there only when a request needs them", () => {
    const src = new URL("../../../../src/", import.meta.url);
    const importers = readdirSync(src, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .flatMap((path) =>
        readFileSync(new URL(path, src), "utf8")
          .split("\n")
          .filter((line) => /\b(?:import|from)\b.*["'](?:@smithy|@aws|aws4)/.test(line))
          .map((line) => ({ path, isType: line.startsWith("import type "), isLazy: /\bimport\(/.test(line) })),
      );
    expect(importers.length).toBeGreaterThan(1);
    expect(importers.filter(({ isType, isLazy }) => !isType && !isLazy)).toEqual([]);
    expect(new Set(importers.map(({ path }) => path.split("/")[1]))).toEqual(new Set(["bedrock"]));
  });

  it("are not needed by those who neither sign nor stream", () => {
    const upstream = connectWire("bedrock", here);
    expect(upstream.authorize(send("bedrock", chat(), here), "ABSK-1")).not.toBeInstanceOf(Promise);
  });
});
