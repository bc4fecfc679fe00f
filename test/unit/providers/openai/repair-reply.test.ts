import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import { mistral } from "../../../../src/providers/openai/facts/mistral.js";
import { openaiCompatible } from "../../../../src/providers/openai/facts/openai.js";
import { openrouter } from "../../../../src/providers/openai/facts/openrouter.js";
import type { OpenAiFacts } from "../../../../src/providers/openai/facts.js";
import { openaiProvider } from "../../../../src/providers/openai/index.js";
import type { AttemptContext, WholeResponse, WireUpstream } from "../../../../src/providers/provider.js";
import { anAttempt, WALL_NOW_MS } from "../../../support/attempt-context.js";

function connect(facts: OpenAiFacts): WireUpstream {
  const settings = { model: "wire-model", baseUrl: "http://up:1/v1", unknownFields: "forward", own: {} } as const;
  return openaiProvider(facts).connect(settings) as WireUpstream; // OpenAI's dialect is spoken over the wire
}

function decodeText(text: string, context: Partial<AttemptContext> = {}, facts = openaiCompatible): unknown {
  return connect(facts).decodeReply({ status: 200, headers: new Map(), text }, anAttempt(context));
}

function decode(body: unknown, context: Partial<AttemptContext> = {}, facts = openaiCompatible): unknown {
  return decodeText(JSON.stringify(body), context, facts);
}

function failure(run: () => unknown): UpstreamError {
  try {
    run();
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const answer = (choice: Record<string, unknown>, members: Record<string, unknown> = {}) => ({
  id: "chatcmpl-up",
  object: "chat.completion",
  created: 5,
  model: "up-model",
  choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop", ...choice }],
  ...members,
});
const messageOf = (message: Record<string, unknown>, facts?: OpenAiFacts) => {
  const reply = decode(answer({ message }), {}, facts) as { choices: { message: unknown }[] };
  return reply.choices[0]?.message;
};

/** An answer of OpenAI's own, with other members of its parts. */
const inOrder = (parts: { reply?: object; choice?: object; message?: object; usage?: object | undefined } = {}) => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 5,
  model: "m",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "Hi", refusal: null, annotations: [], ...parts.message },
      logprobs: null,
      finish_reason: "stop",
      ...parts.choice,
    },
  ],
  ...("usage" in parts && parts.usage === undefined
    ? {}
    : {
        usage: {
          prompt_tokens: 1,
          completion_tokens: 2,
          total_tokens: 3,
          prompt_tokens_details: { cached_tokens: 0 },
          ...parts.usage,
        },
      }),
  ...parts.reply,
});

function isAsSent(body: unknown, context: Partial<AttemptContext> = {}, facts = openaiCompatible): boolean {
  const response: WholeResponse = { status: 200, headers: new Map(), text: JSON.stringify(body) };
  connect(facts).decodeReply(response, anAttempt(context));
  return response.isAsSent === true;
}

describe("an answer in order", () => {
  it("is told, so that relays copy its bytes", () => {
    expect(isAsSent(inOrder())).toBe(true);
    expect(isAsSent(inOrder({ usage: undefined }))).toBe(true);
    expect(isAsSent(inOrder({ message: { content: null, refusal: "no" }, choice: { finish_reason: "length" } }))).toBe(
      true,
    );
    expect(isAsSent(inOrder({ message: { reasoning_content: "so" }, reply: { own: { deep: [null] } } }))).toBe(true);
    expect(isAsSent(inOrder(), {}, mistral)).toBe(false);
    expect(isAsSent({ ...inOrder(), object: "text_completion" }, { operation: "completions" })).toBe(false);
  });

  it("is what no repair would change, and nothing else is taken for one", () => {
    const odd = fc.constantFrom<unknown>(null, undefined, "", "x", 0, 1, -1, 1.5, 127, 128, true, [], {}, ["x"], {
      a: null,
    });
    const some = (...names: string[]) =>
      fc.record(Object.fromEntries(names.map((name) => [name, odd])), { requiredKeys: [] });
    const parts = fc.record(
      {
        reply: some("id", "object", "created", "model", "choices", "usage", "error", "own", "system_fingerprint"),
        choice: fc.oneof(
          some("index", "message", "logprobs", "error", "own"),
          fc.record({
            finish_reason: fc.constantFrom<unknown>(
              null,
              "stop",
              "length",
              "STOP",
              "eos",
              "error",
              "tool_calls",
              "",
              1,
            ),
          }),
        ),
        message: some("role", "content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call"),
        usage: fc.oneof(
          some("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "prompt_cache_hit_tokens"),
          fc.record({ completion_tokens_details: fc.oneof(odd, some("reasoning_tokens", "own")) }),
        ),
      },
      { requiredKeys: [] },
    );
    const seen = { asSent: 0, others: 0 };
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 2 }), (several) => {
        const body = inOrder(Object.assign({}, ...several));
        // A member that is taken out has everything else repaired, too.
        let repaired: unknown;
        let complaints = 0;
        const noteMalformedUsage = () => {
          complaints += 1;
        };
        try {
          repaired = decode({ ...body, nothing: null }, { noteMalformedUsage });
        } catch {
          repaired = undefined;
        }
        const isRight = JSON.stringify(repaired) === JSON.stringify(body) && complaints === 0;
        let isTold = false;
        try {
          isTold = isAsSent(body);
        } catch {
          isTold = false;
        }
        seen[isTold ? "asSent" : "others"] += 1;
        if (isTold) expect(isRight).toBe(true);
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(seen.asSent, seen.others)).toBeGreaterThan(100);
  });
});

describe("repairs of whole answers", () => {
  it("change nothing of an answer that is right", () => {
    const right = answer(
      { message: { role: "assistant", content: "Hi", refusal: null, annotations: [] }, logprobs: null },
      {
        system_fingerprint: "fp",
        service_tier: "default",
        usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, prompt_tokens_details: { cached_tokens: 0 } },
      },
    );
    expect(JSON.stringify(decode(right))).toBe(JSON.stringify(right));
  });

  it("repair R1: fill in id, object, created and model", () => {
    const reply = decode({ choices: [{ message: { content: "Hi" } }] });
    expect(reply).toMatchObject({ object: "chat.completion", created: WALL_NOW_MS / 1_000, model: "wire-model" });
    expect((reply as { id: string }).id).toMatch(/^chatcmpl-.{24}$/);
    expect(decode(answer({}, { id: "", object: "x", created: 0, model: "" }))).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      created: WALL_NOW_MS / 1_000,
      model: "wire-model",
    });
  });

  it("repair R4: leave usage out where it is null", () => {
    expect(decode(answer({}, { usage: null }))).not.toHaveProperty("usage");
  });

  it("repair R5: rename reasoning, prefer reasoning_content, and remove empty ones", () => {
    const base = { role: "assistant", content: "x" };
    const repaired = { ...base, refusal: null };
    expect(messageOf({ ...base, reasoning: "r" })).toEqual({ ...repaired, reasoning_content: "r" });
    expect(messageOf({ ...base, reasoning: "r", reasoning_content: "c" })).toEqual({
      ...repaired,
      reasoning_content: "c",
    });
    expect(messageOf({ ...base, reasoning: "", reasoning_content: null })).toEqual(repaired);
    expect(messageOf({ ...base, reasoning: null, reasoning_content: "" })).toEqual(repaired);
  });

  it("repair R9: serialise arguments that are an object, and give missing ones as {}", () => {
    const calls = [
      { id: "a", type: "function", function: { name: "f", arguments: { city: "Bonn" } } },
      { id: "b", type: "function", function: { name: "g" } },
    ];
    expect(messageOf({ tool_calls: calls })).toMatchObject({
      tool_calls: [{ function: { arguments: '{"city":"Bonn"}' } }, { function: { arguments: "{}" } }],
    });
  });

  it.each([
    ["eos_token", undefined, "stop"],
    ["model_length", undefined, "length"],
    ["stop", [{ id: "a", function: { name: "f" } }], "tool_calls"],
    ["function_call", undefined, "function_call"],
    [null, undefined, "stop"],
    [undefined, [{ id: "a", function: { name: "f" } }], "tool_calls"],
  ])("repair R10: finish reason %s with calls %j is %s", (given, calls, meant) => {
    const reply = decode(answer({ message: { content: "x", tool_calls: calls }, finish_reason: given }));
    expect(reply).toMatchObject({ choices: [{ finish_reason: meant }] });
  });

  it("repair R10: take a finish reason that is a failure for an error", () => {
    expect(failure(() => decode(answer({ finish_reason: "insufficient_system_resource" }))).errorClass).toBe(
      "overloaded",
    );
    expect(failure(() => decode(answer({ finish_reason: "error" }))).errorClass).toBe("server");
    const own = answer({ finish_reason: "error", error: { code: 429, message: "slow down" } });
    expect(failure(() => decode(own, {}, openrouter))).toMatchObject({
      errorClass: "rate_limit",
      message: "slow down",
    });
  });

  it("repair R11: remove empty calls, indexes and nulls, and fill in what is missing", () => {
    const reply = decode(
      answer({
        message: {
          role: "assistant",
          content: "",
          annotations: null,
          audio: null,
          tool_calls: [{ index: 0, id: "", type: null, function: { description: null, name: "f", arguments: "{}" } }],
        },
      }),
    );
    expect(reply).toMatchObject({
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: null,
            tool_calls: [
              { id: expect.stringMatching(/^call_/), type: "function", function: { name: "f", arguments: "{}" } },
            ],
            refusal: null,
          },
          finish_reason: "tool_calls",
          logprobs: null,
        },
      ],
    });
    expect(messageOf({ content: "x", tool_calls: [] })).toEqual({ role: "assistant", content: "x", refusal: null });
    expect(messageOf({ tool_calls: null })).toEqual({ role: "assistant", content: null, refusal: null });
    expect(messageOf({ content: "" })).toEqual({ role: "assistant", content: "", refusal: null });
  });

  it("repair R11: join the content parts of thinking models", () => {
    const content = [
      {
        type: "thinking",
        thinking: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      { type: "text", text: "4" },
      { type: "reference", reference_ids: [1] },
      { type: "text", text: "2" },
    ];
    expect(messageOf({ content }, mistral)).toEqual({
      role: "assistant",
      content: "42",
      reasoning_content: "ab",
      refusal: null,
    });
  });

  it("repair R12: pass what is unknown and remove what is null", () => {
    const reply = decode(
      answer(
        { filter: { a: null }, token_ids: null, message: { content: "x", context: { intent: "i" }, own: null } },
        { timings: { n: 1 }, kv: null, service_tier: null, system_fingerprint: null },
      ),
    );
    expect(reply).toEqual({
      id: "chatcmpl-up",
      object: "chat.completion",
      created: 5,
      model: "up-model",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "x", context: { intent: "i" }, refusal: null },
          finish_reason: "stop",
          filter: { a: null },
          logprobs: null,
        },
      ],
      timings: { n: 1 },
    });
  });

  it.each([false, true])("take a vector out of a list of one, as base64: %j", (wantsBase64) => {
    const { data } = decode({ data: [{ embedding: [[1, 2]] }] }, { operation: "embeddings", wantsBase64 }) as {
      data: unknown[];
    };
    expect(data).toMatchObject([{ embedding: wantsBase64 ? "AACAPwAAAEA=" : [1, 2] }]);
  });

  it("repair R14: fill in an embedding's object, index and usage", () => {
    expect(decode({ data: [{ embedding: [1, 2] }, { embedding: [3, 4] }] }, { operation: "embeddings" })).toEqual({
      object: "list",
      data: [
        { object: "embedding", index: 0, embedding: [1, 2] },
        { object: "embedding", index: 1, embedding: [3, 4] },
      ],
      model: "wire-model",
      usage: { prompt_tokens: 0, total_tokens: 0 },
    });
  });

  it("repair R14: give vectors in the form that was asked for", () => {
    const vector = [0.5, -1.25, 3];
    const base64 = Buffer.from(new Float32Array(vector).buffer).toString("base64");
    const embed = (embedding: unknown, wantsBase64: boolean) =>
      (
        decode({ data: [{ embedding }] }, { operation: "embeddings", wantsBase64 }) as {
          data: { embedding: unknown }[];
        }
      ).data[0]?.embedding;
    expect(embed(vector, false)).toEqual(vector);
    expect(embed(base64, false)).toEqual(vector);
    expect(embed(vector, true)).toBe(base64);
    expect(embed(base64, true)).toBe(base64);
    const long = Array.from({ length: 5_000 }, (_, index) => index / 4);
    expect(embed(embed(long, true), false)).toEqual(long);
  });

  it("repair R14: keep the usage that the upstream counts, without completion tokens of our own", () => {
    const usage = (given: unknown) =>
      (decode({ data: [{ embedding: [1] }], usage: given }, { operation: "embeddings" }) as { usage: unknown }).usage;
    expect(usage({ prompt_tokens: 4, total_tokens: 4 })).toEqual({ prompt_tokens: 4, total_tokens: 4 });
    expect(usage({ prompt_tokens: 4, completion_tokens: 0, prompt_tokens_details: null })).toEqual({
      prompt_tokens: 4,
      completion_tokens: 0,
      total_tokens: 4,
    });
    expect(usage({ prompt_tokens: -4 })).toEqual({ prompt_tokens: 0, total_tokens: 0 });
  });

  const usageOf = (usage: unknown) => (decode(answer({}, { usage })) as { usage: unknown }).usage;
  const counts = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };

  it("repair R15: add up a missing total, and move SGLang's reasoning tokens", () => {
    expect(usageOf({ prompt_tokens: 5, completion_tokens: 7 })).toEqual(counts);
    expect(usageOf({ ...counts, reasoning_tokens: 3 })).toEqual({
      ...counts,
      completion_tokens_details: { reasoning_tokens: 3 },
    });
    expect(usageOf({ ...counts, reasoning_tokens: 0 })).toEqual(counts);
  });

  it("repair R15: take cached tokens from DeepSeek's and Mistral's members, which stay", () => {
    expect(usageOf({ ...counts, prompt_cache_hit_tokens: 4 })).toEqual({
      ...counts,
      prompt_cache_hit_tokens: 4,
      prompt_tokens_details: { cached_tokens: 4 },
    });
    expect(usageOf({ ...counts, num_cached_tokens: 4, prompt_tokens_details: { cached_tokens: 1 } })).toMatchObject({
      prompt_tokens_details: { cached_tokens: 1 },
    });
  });

  it("repair R15: remove nulls and details that become empty, and pass what is unknown", () => {
    expect(
      usageOf({
        ...counts,
        cost: 0.5,
        own: null,
        prompt_tokens_details: { cached_tokens: null },
        completion_tokens_details: null,
      }),
    ).toEqual({ ...counts, cost: 0.5 });
  });

  it.each([
    { prompt_tokens: -1, completion_tokens: 2 },
    { prompt_tokens: 1, completion_tokens: 2.5 },
    { prompt_tokens: "3", completion_tokens: 2 },
    { prompt_tokens: 1e300, completion_tokens: 2 },
    { total_tokens: 4 },
    [1],
    "many",
  ])("R18: %j is no usage", (usage) => {
    expect(decode(answer({}, { usage }))).not.toHaveProperty("usage");
  });

  it("R18: details that are no counts are left out", () => {
    expect(usageOf({ ...counts, prompt_tokens_details: { cached_tokens: -4, audio_tokens: 1 } })).toEqual({
      ...counts,
      prompt_tokens_details: { audio_tokens: 1 },
    });
  });
});

describe("legacy completions", () => {
  it("repair R1 and R12: are completed like chats", () => {
    const reply = decode(
      {
        choices: [
          { text: "a", finish_reason: "eos_token", own: 1, gone: null },
          { text: null, logprobs: { tokens: [] } },
        ],
      },
      { operation: "completions" },
    );
    expect(reply).toEqual({
      id: expect.stringMatching(/^cmpl-.{24}$/),
      object: "text_completion",
      created: WALL_NOW_MS / 1_000,
      model: "wire-model",
      choices: [
        { index: 0, text: "a", finish_reason: "stop", own: 1, logprobs: null },
        { index: 1, text: "", finish_reason: "stop", logprobs: { tokens: [] } },
      ],
    });
  });
});

describe("answers that are none", () => {
  it("may begin with blank lines and a byte order mark is not one of them", () => {
    expect(decodeText(`\n\n  \r\n${JSON.stringify(answer({}))}`)).toMatchObject({ id: "chatcmpl-up" });
  });

  it.each([
    ["an empty body", ""],
    ["text", "hello"],
    ["half an object", '{"choices":[{"index":0,'],
    ["an array", "[]"],
    ["null", "null"],
    ["no choices", "{}"],
    ["empty choices", '{"choices":[]}'],
    ["a choice without message", '{"choices":[{"index":0,"text":"x"}]}'],
    ["a choice that is no object", '{"choices":["x"]}'],
    ["a call that is no object", '{"choices":[{"message":{"tool_calls":["x"]}}]}'],
    ["S30: a huge index", '{"choices":[{"index":128,"message":{"content":"x"}}]}'],
    ["S30: a negative index", '{"choices":[{"index":-1,"message":{"content":"x"}}]}'],
    ["S37: deep nesting", `{"choices":[{"index":0,"message":{"content":"x"}}],"a":${"[".repeat(64)}${"]".repeat(64)}}`],
  ])("%s: a bad response", (_, text) => {
    expect(failure(() => decodeText(text))).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it("S37: takes 64 levels", () => {
    const nested = `{"choices":[{"index":0,"message":{"content":"x"}}],"a":${"[".repeat(63)}${"]".repeat(63)}}`;
    expect(decodeText(nested)).toMatchObject({ model: "wire-model" });
  });

  it.each([
    ["no list", { object: "list" }],
    ["no vector", { data: [{ index: 0 }] }],
    ["half a float", { data: [{ embedding: "AAA=" }] }],
    ["no base64", { data: [{ embedding: "***" }] }],
    // llama.cpp without pooling.
    [
      "a vector for each token",
      {
        data: [
          {
            embedding: [
              [1, 2],
              [3, 4],
            ],
          },
        ],
      },
    ],
    ["no numbers", { data: [{ embedding: [] }] }],
  ])("embeddings with %s: a bad response", (_, body) => {
    expect(failure(() => decode(body, { operation: "embeddings" }))).toMatchObject({ isBadResponse: true });
  });

  it("a vector that is no list of numbers cannot be encoded", () => {
    const run = () => decode({ data: [{ embedding: [1, "x"] }] }, { operation: "embeddings", wantsBase64: true });
    expect(failure(run)).toMatchObject({ isBadResponse: true });
  });

  it("an error with status 200 is an error", () => {
    const error = failure(() => decode({ error: { message: "no such model", code: 404 } }));
    expect(error).toMatchObject({ errorClass: "not_found", status: 404, message: "no such model" });
    expect(failure(() => decode({ error: "busy" })).errorClass).toBe("server");
    expect(
      failure(() => decode({ object: "error", message: "bad", type: "BadRequestError", code: 400 })).errorClass,
    ).toBe("invalid_request");
    expect(decode(answer({}, { error: null }))).not.toHaveProperty("error");
  });

  it("S18: the upstream's text is in no message of ours", () => {
    const error = failure(() => decodeText('{"choices": secret-prompt'));
    expect(error.message).not.toContain("secret");
    expect(error.cause).toBeUndefined();
  });
});

describe("members with names of prototypes", () => {
  it("S29: leave objects as they are", () => {
    const call = { id: "a", evil: 1, function: { name: "f", evil: 1 } };
    const text = JSON.stringify(
      answer({ evil: 1, message: { content: "x", evil: 1, tool_calls: [call] } }, { evil: 1 }),
    );
    const reply = decodeText(text.replaceAll('"evil":1', '"__proto__":{"polluted":1},"constructor":{"x":1}'));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const visit = (value: unknown) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      Object.values(value).forEach(visit);
    };
    visit(reply);
    (reply as { choices: unknown[] }).choices.forEach(visit);
    expect(reply).toMatchObject({ constructor: { x: 1 }, choices: [{ message: { constructor: { x: 1 } } }] });
    const [first] = (reply as { choices: { message: { tool_calls: { function: object }[] } }[] }).choices;
    expect(Object.getPrototypeOf(first?.message.tool_calls[0]?.function)).toBe(Object.prototype);
  });
});
