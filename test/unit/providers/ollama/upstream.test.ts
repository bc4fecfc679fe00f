import { describe, expect, it } from "vitest";
import type { Completion } from "../../../../src/protocol/completions.js";
import { featureNames } from "../../../../src/protocol/features.js";
import type { RequestBody } from "../../../../src/protocol/operations.js";
import { ollamaSettings } from "../../../../src/providers/ollama/options.js";
import { ProviderOptionError } from "../../../../src/providers/provider.js";
import { knownProviders } from "../../../../src/providers/registry.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { decodeStream } from "../../../support/vectors.js";
import { chat, connectWire, type Json, send } from "../../../support/wire-upstreams.js";

function optionError(own: Json): ProviderOptionError {
  try {
    connectWire("ollama", { own });
  } catch (error) {
    if (error instanceof ProviderOptionError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("an upstream of Ollama", () => {
  it("speaks the native API with constant headers", () => {
    const whole = send("ollama", chat());
    const streamed = send("ollama", chat({ stream: true }));
    expect(whole).toMatchObject({ method: "POST", path: "/api/chat", json: { stream: false } });
    expect(whole.headers).toEqual({
      accept: "application/json",
      "accept-encoding": "identity",
      "content-type": "application/json",
    });
    expect(streamed.headers.accept).toBe("application/x-ndjson");
    expect(streamed.json.stream).toBe(true);
    expect(send("ollama", chat()).headers).toBe(whole.headers);
    expect(connectWire("ollama").contentTypes).toEqual({
      whole: ["application/json"],
      stream: ["application/x-ndjson", "application/ndjson"],
    });
  });

  it.each([
    [undefined, "http://127.0.0.1:11434/api/chat"],
    ["http://gpu-a:11434", "http://gpu-a:11434/api/chat"],
    ["http://gpu-a:11434/v1", "http://gpu-a:11434/api/chat"],
    ["http://gpu-a:11434/api", "http://gpu-a:11434/api/chat"],
    ["https://proxy.example/team-a/", "https://proxy.example/team-a/api/chat"],
    ["https://proxy.example/team-a/v1", "https://proxy.example/team-a/api/chat"],
  ])("at %s is called at %s", (baseUrl, url) => {
    const settings = baseUrl === undefined ? {} : { baseUrl };
    expect(connectWire("ollama", settings).origin + send("ollama", chat(), settings).path).toBe(url);
  });

  it("keeps its OpenAI-compatible surface for those who ask for it", () => {
    const own = { dialect: "openai" };
    expect(send("ollama", chat(), { own }).path).toBe("/v1/chat/completions");
    expect(connectWire("ollama", { own, baseUrl: "http://h:1/v1" }).modelList?.request.path).toBe("/v1/models");
    for (const extra of [{ options: { num_ctx: 1 } }, { keepAlive: "1m" }, { truncate: true }]) {
      expect(optionError({ ...own, ...extra }).path).toBe(Object.keys(extra)[0]);
    }
  });

  it("takes a key where there is one, and needs none", async () => {
    const upstream = connectWire("ollama");
    const encoded = send("ollama", chat());
    expect(await upstream.authorize(encoded, undefined)).toBe(encoded);
    expect((await upstream.authorize(encoded, "key")).headers.authorization).toBe("Bearer key");
    expect(knownProviders.get("ollama")).toMatchObject({ apiKey: "optional", loadsModelsOnDemand: true });
  });

  it("lists the models that are installed, and is alive when it tells its version", () => {
    const { modelList, healthProbe } = connectWire("ollama");
    expect(modelList?.request).toMatchObject({ method: "GET", path: "/api/tags" });
    expect(healthProbe).toMatchObject({ method: "GET", path: "/api/version" });
    const models = [
      { name: "llama3.2:latest", model: "llama3.2:latest", modified_at: "2026-01-01T00:00:00.5+01:00" },
      { name: "old", modified_at: "long ago" },
      { size: 1 },
      null,
    ];
    expect(modelList?.decode(JSON.stringify({ models }))).toEqual([
      { id: "llama3.2:latest", object: "model", created: 1_767_222_000, owned_by: "library" },
      { id: "old", object: "model", created: 0, owned_by: "library" },
    ]);
    expect(modelList?.decode('{"models":null}')).toEqual([]);
    for (const text of ["{}", "[]", "x", '{"models":{}}']) {
      expect(() => modelList?.decode(text), text).toThrow(expect.objectContaining({ isBadResponse: true }));
    }
  });

  it.each<[string, Json]>([
    ["dialect", { dialect: "v1" }],
    ["options", { options: { num_ctx: "4096" } }],
    ["options", { options: { num_ctx: 0 } }],
    ["options", { options: { num_ctx: 1.5 } }],
    ["options", { options: { nested: {} } }],
    ["options", { options: [] }],
    ["keepAlive", { keepAlive: "ten minutes" }],
    ["keepAlive", { keepAlive: "10" }],
    ["keepAlive", { keepAlive: true }],
    ["truncate", { truncate: "no" }],
  ])("refuses a wrong `%s`: %j", (path, own) => {
    expect(optionError(own).path).toBe(path);
    expect(optionError(own).message).toContain(`\`${path}`);
  });

  it("takes every form of `keepAlive` that Ollama reads, and is strict about prompts unless told otherwise", () => {
    for (const keepAlive of ["10m", "1h30m", "-1m", "0", "1.5h", 0, -1, 300]) {
      expect(ollamaSettings({ keepAlive })).toEqual({ dialect: "native", options: {}, keepAlive, truncate: false });
    }
  });

  it("answers legacy completions through chat", () => {
    const upstream = connectWire("ollama");
    const context = anAttempt({ operation: "completions", isStreaming: true, includeUsage: true });
    const body = { model: "g", prompt: "Once", max_tokens: 3 } as unknown as RequestBody; // as a caller writes it
    const encoded = upstream.encode(body, context);
    expect(encoded.path).toBe("/api/chat");
    expect(JSON.parse(encoded.body ?? "")).toMatchObject({ messages: [{ role: "user", content: "Once" }] });
    const text =
      '{"message":{"content":" upon"},"done":false}\n{"done":true,"done_reason":"length","prompt_eval_count":1,"eval_count":3}\n';
    const { chunks, error } = decodeStream(upstream.openStream(context), [new TextEncoder().encode(text)]);
    expect(error).toBeUndefined();
    expect(chunks.map(({ choices, usage }) => [choices[0], usage])).toEqual([
      [{ index: 0, text: " upon", logprobs: null, finish_reason: null }, null],
      [{ index: 0, text: "", logprobs: null, finish_reason: "length" }, null],
      [undefined, { prompt_tokens: 1, completion_tokens: 3, total_tokens: 4 }],
    ]);
    const whole = { message: { content: " upon" }, done: true, done_reason: "stop" };
    const reply = upstream.decodeReply(
      { status: 200, headers: new Map(), text: JSON.stringify(whole) },
      anAttempt({ operation: "completions" }),
    ) as Completion;
    expect(reply.choices).toEqual([{ index: 0, text: " upon", logprobs: null, finish_reason: "stop" }]);
    expect(featureNames(upstream.operations.completions?.rejects ?? 0)).toContain("suffix");
  });
});
