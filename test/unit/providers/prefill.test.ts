import { describe, expect, it } from "vitest";
import type { RequestBody } from "../../../src/protocol/operations.js";
import type { ProviderSettings } from "../../../src/providers/provider.js";
import { knownProviders } from "../../../src/providers/registry.js";
import { anAttempt } from "../../support/attempt-context.js";
import { connectWire, HI, type Json } from "../../support/wire-upstreams.js";

const BEGUN = { role: "assistant", content: "Once upon" };

/** What goes on the wire for an answer that is to be continued. */
function continued(name: string, settings: Partial<ProviderSettings> = {}, fields: Json = {}): Json {
  const upstream = connectWire(name, settings);
  const body = { model: "group", messages: [HI, BEGUN], stream: true, ...fields };
  const before = JSON.stringify(body);
  const context = anAttempt({ isStreaming: true, continuesAnswer: true, model: settings.model ?? "wire-model" });
  const encoded = upstream.encode(body as unknown as RequestBody, context); // messages of any form may arrive
  expect(JSON.stringify(body), "the caller's body").toBe(before);
  return JSON.parse(encoded.body ?? "null") as Json;
}

/** Of a deployment with this model. */
const takesPrefill = (name: string, model = "m") =>
  knownProviders
    .get(name)
    ?.connect({
      model,
      baseUrl: "http://127.0.0.1:1",
      unknownFields: "forward",
      region: "eu-central-1",
      own: name === "azure" ? { apiVersion: "v1" } : {},
    })
    .takesPrefill?.(model) ?? false;

describe("who continues an answer", () => {
  it("is stated by the providers whose pages say so, and by no others", () => {
    const declaring = [...knownProviders.keys()].filter((name) =>
      takesPrefill(name, name === "anthropic" ? "claude-sonnet-4-5" : "m"),
    );
    expect(declaring.toSorted()).toEqual(["anthropic", "mistral", "sglang", "simulated", "vllm"]);
  });

  it.each([
    ["claude-3-5-haiku-latest", true],
    ["claude-sonnet-4-5-20250929", true],
    ["claude-opus-4-6", false],
    ["claude-sonnet-5", false],
    ["claude-*", false],
    ["*", false],
    ["some-other-model", false],
  ])("at Anthropic depends on the model: %s", (model, expected) => {
    expect(takesPrefill("anthropic", model)).toBe(expected);
  });
});

describe("an answer that is to be continued", () => {
  it("is vLLM's final message, and no new one begins", () => {
    expect(continued("vllm")).toMatchObject({
      messages: [HI, BEGUN],
      continue_final_message: true,
      add_generation_prompt: false,
    });
  });

  it("is SGLang's final message", () => {
    const wire = continued("sglang");
    expect(wire).toMatchObject({ messages: [HI, BEGUN], continue_final_message: true });
    expect(wire).not.toHaveProperty("add_generation_prompt");
  });

  it("is marked as a prefix for Mistral", () => {
    expect(continued("mistral")).toMatchObject({ messages: [HI, { ...BEGUN, prefix: true }] });
  });

  it("is marked as a prefix for DeepSeek, where a deployment says that it takes one", () => {
    expect(continued("deepseek")).toMatchObject({ messages: [HI, { ...BEGUN, prefix: true }] });
  });

  it("is the last message for Anthropic, without white space at its end", () => {
    const model = "claude-sonnet-4-5";
    expect(continued("anthropic", { model }, { messages: [HI, { ...BEGUN, content: "Once upon \n" }] })).toMatchObject({
      messages: [
        { role: "user", content: [{ type: "text", text: "Hi" }] },
        { role: "assistant", content: [{ type: "text", text: "Once upon" }] },
      ],
    });
  });

  it.each(["openai-compatible", "llamacpp", "ollama", "openrouter", "groq"])(
    "is the last message for %s, and nothing else is said",
    (name) => {
      const wire = continued(name, { baseUrl: "http://127.0.0.1:1/v1" });
      expect((wire.messages as Json[]).at(-1)).toEqual(BEGUN);
      expect(Object.keys(wire).filter((field) => /continue|generation|prefix/.test(field))).toEqual([]);
    },
  );

  it.each(["vllm", "sglang", "deepseek"])("is asked for at %s only where the attempt says so", (name) => {
    const upstream = connectWire(name);
    const body = { model: "group", messages: [HI, BEGUN] };
    const { body: text } = upstream.encode(body as unknown as RequestBody, anAttempt()); // as above
    expect(JSON.parse(text ?? "null")).toMatchObject({ messages: [HI, BEGUN] });
    expect(text).not.toMatch(/continue_final_message|prefix/);
  });
});
