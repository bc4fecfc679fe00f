import { describe, expect, it } from "vitest";
import { groq } from "../../../../src/providers/openai/facts/groq.js";
import { mistral } from "../../../../src/providers/openai/facts/mistral.js";
import { anAttempt, WALL_NOW_MS } from "../../../support/attempt-context.js";
import {
  aDelta,
  anEvent,
  choicesOf,
  deltasOf,
  repairBytes,
  repairEvents,
  roleEvent,
  sse,
  stopEvent,
} from "../../../support/openai-streams.js";

const role = { role: "assistant", content: "" };

describe("repairs of streams", () => {
  it("repair R1: fills in id, object, created and model, the same in all chunks", () => {
    const bare = (choice: Record<string, unknown>) => ({ choices: [{ index: 0, ...choice }] });
    const { chunks } = repairEvents([bare({ delta: { content: "Hi" } }), bare({ delta: {}, finish_reason: "stop" })]);
    expect(chunks).toHaveLength(3);
    for (const chunk of chunks) {
      expect(chunk).toMatchObject({
        id: chunks[0]?.id,
        object: "chat.completion.chunk",
        created: WALL_NOW_MS / 1_000,
        model: "wire-model",
      });
    }
    expect(chunks[0]?.id).toMatch(/^chatcmpl-[0-9A-Za-z]{24}$/);
  });

  it("repair R1: replaces blank values and a wrong object", () => {
    const blank = { id: "", object: "chat.completion", created: 0, model: "" };
    const { chunks } = repairEvents([aDelta({ content: "Hi" }, blank), anEvent({ finish_reason: "stop" }, blank)]);
    expect(chunks[1]).toMatchObject({
      object: "chat.completion.chunk",
      created: WALL_NOW_MS / 1_000,
      model: "wire-model",
    });
    expect(chunks[1]?.id).not.toBe("");
  });

  it("repair R2: takes id, time, model, fingerprint and tier from the first event with choices, for all chunks", () => {
    const first = { id: "a", created: 5, model: "m", system_fingerprint: "fp", service_tier: "default" };
    const later = { id: "b", created: 6, model: "n", system_fingerprint: "other", service_tier: "flex" };
    const { chunks, summary } = repairEvents([
      { choices: [], id: "early", created: 1, model: "early" },
      aDelta({ content: "x" }, first),
      anEvent({ finish_reason: "stop" }, later),
    ]);
    for (const chunk of chunks) expect(chunk).toMatchObject(first);
    expect(summary.model).toBe("m");
  });

  it("repair R2: leaves a null fingerprint and tier out", () => {
    const { chunks } = repairEvents([
      aDelta({ content: "x" }, { system_fingerprint: null, service_tier: null }),
      stopEvent,
    ]);
    for (const chunk of chunks) expect(Object.keys(chunk)).toEqual(["id", "object", "created", "model", "choices"]);
  });

  it("repair R3: makes no chunk of events without choices", () => {
    const { chunks } = repairEvents([
      { choices: [], id: "" },
      { id: "x", object: "ping" },
      { choices: null },
      roleEvent,
      aDelta({ content: "x" }),
      stopEvent,
    ]);
    expect(chunks).toHaveLength(3);
  });

  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };

  it.each([
    [
      "on every chunk",
      [
        aDelta({ content: "x" }, { usage: { ...usage, completion_tokens: 1 } }),
        anEvent({ finish_reason: "stop" }, { usage }),
      ],
    ],
    ["on the last chunk", [aDelta({ content: "x" }), anEvent({ finish_reason: "stop" }, { usage })]],
    ["in an extra chunk", [aDelta({ content: "x" }), stopEvent, { choices: [], usage }]],
    ["before a null", [aDelta({ content: "x" }, { usage }), anEvent({ finish_reason: "stop" }, { usage: null })]],
  ])("repair R4: takes usage that comes %s", (_, events) => {
    const asked = repairEvents(events, { includeUsage: true });
    expect(asked.chunks.at(-1)).toMatchObject({ choices: [], usage });
    expect(asked.summary.usage).toEqual(usage);
    const unasked = repairEvents(events);
    expect(unasked.chunks.some((chunk) => "usage" in chunk)).toBe(false);
    expect(unasked.summary.usage).toEqual(usage);
  });

  it("repair R4: takes usage from x_groq and leaves it there", () => {
    const events = [
      aDelta({ content: "x" }),
      anEvent({ finish_reason: "stop" }, { x_groq: { id: "r", usage: { ...usage, own: null } } }),
    ];
    const { chunks, summary } = repairEvents(events, { facts: groq, includeUsage: true });
    expect(summary.usage).toEqual(usage);
    expect(chunks.at(-2)).toMatchObject({ x_groq: { id: "r", usage: { ...usage, own: null } } });
  });

  it("repair R5: renames reasoning, prefers reasoning_content, and removes empty ones", () => {
    const decoded = repairEvents([
      roleEvent,
      aDelta({ reasoning: "a" }),
      aDelta({ reasoning: "b", reasoning_content: "c" }),
      aDelta({ reasoning: "d", reasoning_content: null }),
      aDelta({ reasoning: "", content: "x" }),
      aDelta({ reasoning: null, reasoning_content: "" }),
      stopEvent,
    ]);
    expect(deltasOf(decoded)).toEqual([
      role,
      { reasoning_content: "a" },
      { reasoning_content: "c" },
      { reasoning_content: "d" },
      { content: "x" },
      {},
    ]);
    expect(decoded.summary.hasReasoning).toBe(true);
  });

  it("repair R6: removes nulls, empty content, empty arrays and token_id, and chunks that become empty", () => {
    const nulls = { tool_calls: null, reasoning_content: null, refusal: null, function_call: null, audio: null };
    const decoded = repairEvents([
      roleEvent,
      aDelta({ content: null, ...nulls }),
      aDelta({ content: "", tool_calls: [], annotations: [], token_id: 7 }),
      aDelta({ content: "x", ...nulls, token_id: 8 }),
      anEvent({ delta: null }),
      stopEvent,
    ]);
    expect(deltasOf(decoded)).toEqual([role, { content: "x" }, {}]);
  });

  it("repair R7: sends the role alone, first and once", () => {
    const decoded = repairEvents([
      aDelta({ role: "assistant", content: "a", refusal: null }),
      aDelta({ role: "assistant", content: "b" }),
      anEvent({ delta: { role: "assistant" }, finish_reason: "stop" }),
    ]);
    expect(deltasOf(decoded)).toEqual([role, { content: "a" }, { content: "b" }, {}]);
  });

  it("repair R7: begins each choice with its role even where the upstream never sends it", () => {
    expect(deltasOf(repairEvents([aDelta({ content: "a" }), stopEvent]))[0]).toEqual(role);
  });

  it("repair R8: splits a chunk that has both text and a finish reason", () => {
    const decoded = repairEvents([roleEvent, anEvent({ delta: { content: "end" }, finish_reason: "length" })]);
    expect(choicesOf(decoded)).toEqual([
      { index: 0, delta: role, finish_reason: null },
      { index: 0, delta: { content: "end" }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: "length" },
    ]);
  });

  it("repair R8: takes an empty finish reason for none", () => {
    const decoded = repairEvents([roleEvent, anEvent({ delta: { content: "x" }, finish_reason: "" }), stopEvent]);
    expect(choicesOf(decoded).map((choice) => (choice as { finish_reason: unknown }).finish_reason)).toEqual([
      null,
      null,
      "stop",
    ]);
  });

  it("repair R8: puts logprobs on the first chunk that is not the role chunk", () => {
    const logprobs = { content: [{ token: "a", logprob: -1, bytes: null, top_logprobs: [] }], refusal: null };
    const decoded = repairEvents(
      [anEvent({ delta: { role: "assistant", content: "a" }, logprobs, finish_reason: "stop" })],
      { wantsLogprobs: true },
    );
    expect(choicesOf(decoded)).toEqual([
      { index: 0, delta: role, finish_reason: null },
      { index: 0, delta: { content: "a" }, logprobs, finish_reason: null },
      { index: 0, delta: {}, finish_reason: "stop" },
    ]);
  });

  it("repair R8: keeps the logprobs of a token that has no text of its own", () => {
    const logprobs = { content: [{ token: "\\xf0", logprob: -1, bytes: [240], top_logprobs: [] }], refusal: null };
    const decoded = repairEvents([roleEvent, anEvent({ delta: { content: "" }, logprobs }), stopEvent], {
      wantsLogprobs: true,
    });
    expect(choicesOf(decoded)[1]).toEqual({ index: 0, delta: {}, logprobs, finish_reason: null });
    expect(decoded.contentAt).toBe(2);
  });

  it("repair R8: makes chunks of one choice each, in order", () => {
    const decoded = repairEvents([
      {
        ...roleEvent,
        choices: [
          { index: 1, delta: { content: "b" }, finish_reason: null },
          { index: 0, delta: { content: "a" }, finish_reason: "stop" },
        ],
      },
      anEvent({ index: 1, delta: {}, finish_reason: "length" }),
    ]);
    expect(choicesOf(decoded)).toEqual([
      { index: 1, delta: role, finish_reason: null },
      { index: 1, delta: { content: "b" }, finish_reason: null },
      { index: 0, delta: role, finish_reason: null },
      { index: 0, delta: { content: "a" }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: "stop" },
      { index: 1, delta: {}, finish_reason: "length" },
    ]);
  });

  const call = (entry: Record<string, unknown>) => aDelta({ tool_calls: [entry] });
  const header = (index: number, id: string, name: string) => ({
    tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }],
  });
  const fragment = (index: number, text: string) => ({ tool_calls: [{ index, function: { arguments: text } }] });
  const callDeltas = (...entries: Record<string, unknown>[]) =>
    deltasOf(repairEvents([roleEvent, ...entries.map(call), anEvent({ finish_reason: "tool_calls" })])).slice(1, -1);

  it("repair R9: completes the header of a call and sends its arguments afterwards", () => {
    const [first, second] = callDeltas({ function: { name: "f", arguments: '{"a":1}' } }) as [typeof header, unknown];
    expect(first).toEqual(header(0, expect.stringMatching(/^call_.{24}$/) as string, "f"));
    expect(second).toEqual(fragment(0, '{"a":1}'));
  });

  it("repair R9: keeps only index and arguments of later deltas, and drops empty fragments", () => {
    expect(
      callDeltas(
        { index: 0, id: "a", type: "function", function: { name: "f", arguments: "" } },
        { index: 0, id: "a", type: "function", function: { name: null, arguments: "{" } },
        { index: 0, id: null, type: null, function: { name: "f", arguments: "" } },
        { index: 0, function: { arguments: "}", description: "x" }, custom: null },
      ),
    ).toEqual([header(0, "a", "f"), fragment(0, "{"), fragment(0, "}")]);
  });

  it("repair R9: finds the position of calls without index by their ids", () => {
    expect(
      callDeltas(
        { id: "a", function: { name: "f" } },
        { id: "b", function: { name: "g" } },
        { id: "a", function: { arguments: "1" } },
        { function: { arguments: "2" } },
        { id: "b", function: { arguments: "3" } },
      ),
    ).toEqual([header(0, "a", "f"), header(1, "b", "g"), fragment(0, "1"), fragment(0, "2"), fragment(1, "3")]);
  });

  it("repair R9: opens the next call for a name without id, and continues the last one with neither", () => {
    const id = expect.any(String) as string;
    expect(
      callDeltas(
        { function: { name: "f", arguments: "" } },
        { function: { arguments: "1" } },
        { function: { name: "g", arguments: "2" } },
        { function: { arguments: "3" } },
      ),
    ).toEqual([header(0, id, "f"), fragment(0, "1"), header(1, id, "g"), fragment(1, "2"), fragment(1, "3")]);
  });

  it("repair R9: serialises arguments that are an object", () => {
    expect(callDeltas({ index: 0, id: "a", function: { name: "f", arguments: { city: "Bonn" } } })).toEqual([
      header(0, "a", "f"),
      fragment(0, '{"city":"Bonn"}'),
    ]);
  });

  it("repair R9: splits several whole calls of one delta, call by call", () => {
    const whole = (id: string) => ({ id, function: { name: "f", arguments: "{}" } });
    const decoded = repairEvents([aDelta({ role: "assistant", tool_calls: [whole("a"), whole("b")] }), stopEvent]);
    expect(deltasOf(decoded)).toEqual([
      role,
      header(0, "a", "f"),
      fragment(0, "{}"),
      header(1, "b", "f"),
      fragment(1, "{}"),
      {},
    ]);
  });

  it("repair R9: keeps fragments of several calls together, and takes one object for a list", () => {
    const both = {
      tool_calls: [
        { index: 0, function: { arguments: "1" } },
        { index: 1, function: { arguments: "2" } },
      ],
    };
    const decoded = repairEvents([
      aDelta({ tool_calls: { index: 0, id: "a", function: { name: "f" } } }),
      call({ index: 1, id: "b", function: { name: "g" } }),
      aDelta(both),
      stopEvent,
    ]);
    expect(deltasOf(decoded)).toEqual([role, header(0, "a", "f"), header(1, "b", "g"), both, {}]);
  });

  it("repair R9: keeps what an upstream adds to a call's header, and its own kind of call", () => {
    const google = { google: { thought_signature: "s" } };
    const decoded = repairEvents([
      call({ index: 0, id: "a", function: { name: "f" }, extra_content: google }),
      call({ index: 1, id: "b", type: "custom", custom: { name: "c", input: "x" } }),
      call({ index: 1, custom: { input: "y" } }),
      stopEvent,
    ]);
    expect(deltasOf(decoded).slice(1, -1)).toEqual([
      { tool_calls: [{ ...header(0, "a", "f").tool_calls[0], extra_content: google }] },
      { tool_calls: [{ index: 1, id: "b", type: "custom", custom: { name: "c", input: "" } }] },
      { tool_calls: [{ index: 1, custom: { input: "x" } }] },
      { tool_calls: [{ index: 1, custom: { input: "y" } }] },
    ]);
  });

  it('repair R9: takes the id "null" of old Mistral versions for none', () => {
    const decoded = repairEvents([call({ id: "null", function: { name: "f", arguments: "{}" } }), stopEvent], {
      facts: mistral,
    });
    expect(deltasOf(decoded)[1]).toEqual(header(0, expect.stringMatching(/^call_/) as string, "f"));
  });

  it.each([
    ["eos", "stop"],
    ["eos_token", "stop"],
    ["stop_sequence", "stop"],
    ["end_turn", "stop"],
    ["abort", "stop"],
    ["whatever", "stop"],
    ["model_length", "length"],
    ["max_tokens", "length"],
    ["tool_use", "tool_calls"],
    ["tool", "tool_calls"],
    ["content-filter", "content_filter"],
    ["safety", "content_filter"],
    ["SAFETY", "content_filter"],
    ["MAX_TOKENS", "length"],
    ["content_filter", "content_filter"],
    ["function_call", "function_call"],
  ])("repair R10: finish reason %s means %s", (given, meant) => {
    const { summary } = repairEvents([roleEvent, anEvent({ finish_reason: given })]);
    expect(summary.finishReason).toBe(meant);
  });

  it.each(["stop", "eos", "function_call"])("repair R10: %s becomes tool_calls when calls were seen", (given) => {
    const { summary } = repairEvents([
      call({ index: 0, id: "a", function: { name: "f" } }),
      anEvent({ finish_reason: given }),
    ]);
    expect(summary.finishReason).toBe("tool_calls");
  });

  it.each([
    ["error", "server"],
    ["insufficient_system_resource", "overloaded"],
  ])("repair R10: finish reason %s is an error, after what came before it", (given, errorClass) => {
    const decoded = repairEvents([roleEvent, anEvent({ delta: { content: "x" }, finish_reason: given })]);
    expect(deltasOf(decoded)).toEqual([role, { content: "x" }]);
    expect(decoded.error).toMatchObject({ errorClass });
  });

  it("repair R11: joins content parts of thinking models in deltas, too", () => {
    const parts = (...content: unknown[]) => aDelta({ content });
    const decoded = repairEvents(
      [
        roleEvent,
        parts({ type: "thinking", thinking: [{ type: "text", text: "hm" }] }),
        parts({ type: "text", text: "4" }, { type: "reference", reference_ids: [1] }),
        stopEvent,
      ],
      { facts: mistral },
    );
    expect(deltasOf(decoded)).toEqual([role, { reasoning_content: "hm" }, { content: "4" }, {}]);
  });

  it("repair R12: puts a choice's own members on the last chunk made from it", () => {
    const decoded = repairEvents([
      anEvent({ delta: { role: "assistant", content: "" }, filter: 1, gone: null }),
      anEvent({ delta: { content: "x" }, finish_reason: "stop", stop_reason: "END", filter: 2 }),
      anEvent({ filter: 3, delta: undefined }),
    ]);
    expect(choicesOf(decoded)).toEqual([
      { index: 0, delta: role, finish_reason: null, filter: 1 },
      { index: 0, delta: { content: "x" }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: "stop", stop_reason: "END", filter: 2 },
      { index: 0, delta: {}, finish_reason: null, filter: 3 },
    ]);
  });

  it("repair R12: puts an event's own members on its last chunk, or on the next one", () => {
    const { chunks } = repairEvents(
      [
        { choices: [], prompt_filter: 1, gone: null },
        aDelta({ role: "assistant", content: "x" }, { provider: "p" }),
        stopEvent,
        { choices: [], timings: { n: 1 }, usage: { prompt_tokens: 1, completion_tokens: 1 } },
      ],
      { includeUsage: true },
    );
    const own = chunks.map(({ id, object, created, model, choices, usage, ...rest }) => rest);
    expect(own).toEqual([{ prompt_filter: 1 }, { provider: "p" }, {}, { timings: { n: 1 } }]);
  });

  it("repair R12: passes unknown members of a delta", () => {
    expect(deltasOf(repairEvents([roleEvent, aDelta({ content: "x", channel: "final" }), stopEvent]))[1]).toEqual({
      content: "x",
      channel: "final",
    });
  });

  it.each([
    ["an error member", { error: { message: "boom", code: 500 } }],
    ["an error as text", { error: "boom" }],
    ["an error object", { object: "error", message: "boom", code: 500 }],
    ["an error beside choices", { ...aDelta({ content: "lost" }), error: { message: "boom", code: 500 } }],
  ])("repair R13: %s ends the stream, even if [DONE] follows", (_, event) => {
    const decoded = repairEvents([roleEvent, aDelta({ content: "x" }), event, stopEvent]);
    expect(deltasOf(decoded)).toEqual([role, { content: "x" }]);
    expect(decoded.error).toMatchObject({ errorClass: "server", message: "boom" });
    expect(decoded.isDone).toBe(false);
  });

  it.each([
    [{ message: "This model's maximum context length is 8192 tokens", code: 500 }, "context_length"],
    [{ message: "This model's maximum context length is 8192 tokens" }, "context_length"],
    [{ message: "x", code: "content_filter" }, "content_filter"],
    [{ message: "x", code: 503 }, "overloaded"],
    [{ message: "x", code: "429" }, "rate_limit"],
    [{ message: "x", type: "ServiceUnavailable" }, "overloaded"],
    [{ message: "x", type: "rate_limit_error" }, "rate_limit"],
    [{ message: "x", type: "timeout_error" }, "timeout"],
    [{ message: "x", type: "invalid_request_error" }, "invalid_request"],
    [{ message: "Request failed during generation: x", http_status_code: 422 }, "server"],
    [{ message: "429 in words", type: "server_error" }, "server"],
    [{ message: "x" }, "server"],
    [{}, "server"],
  ])("repair R13: the error %j is of class %s", (error, errorClass) => {
    expect(repairEvents([roleEvent, { error }]).error).toMatchObject({ errorClass });
  });

  it("repair R13: an event named error ends the stream, whatever its form", () => {
    const decoded = repairBytes(
      new TextEncoder().encode('event: error\ndata: {"message":"boom","type":"server_error"}\n\n'),
    );
    expect(decoded.error).toMatchObject({ errorClass: "server", message: "boom" });
  });

  it("repair R13: finds errors where Groq hides them", () => {
    const event = aDelta({}, { x_groq: { error: { message: "over capacity", type: "overloaded_error" } } });
    expect(repairEvents([roleEvent, event], { facts: groq }).error).toMatchObject({ errorClass: "overloaded" });
  });

  it("repair R15: repairs usage in streams as in whole answers", () => {
    const usage = {
      prompt_tokens: 5,
      completion_tokens: 7,
      reasoning_tokens: 3,
      num_cached_tokens: 2,
      prompt_tokens_details: null,
    };
    const { summary } = repairEvents([roleEvent, stopEvent, { choices: [], usage }]);
    expect(summary.usage).toEqual({
      prompt_tokens: 5,
      completion_tokens: 7,
      total_tokens: 12,
      num_cached_tokens: 2,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 3 },
    });
  });
});

describe("legacy completions in a stream", () => {
  const legacy = { operation: "completions" } as const;
  const event = (choice: Record<string, unknown>) => ({
    id: "",
    object: "chat.completion.chunk",
    choices: [{ index: 0, ...choice }],
  });

  it("repair R1: are text_completion objects with ids of their own", () => {
    const { chunks } = repairEvents([event({ text: "a" }), event({ text: "", finish_reason: "length" })], legacy);
    expect(chunks.map(({ object }) => object)).toEqual(["text_completion", "text_completion"]);
    expect(chunks[0]?.id).toMatch(/^cmpl-/);
  });

  it("repair R10: end in stop, length or content_filter, text and reason together", () => {
    const decoded = repairEvents(
      [
        event({ text: "a" }),
        event({ text: "b", finish_reason: "eos_token" }),
        event({ index: 1, text: "c", finish_reason: "tool_calls", own: 1 }),
      ],
      legacy,
    );
    expect(choicesOf(decoded)).toEqual([
      { index: 0, text: "a", logprobs: null, finish_reason: null },
      { index: 0, text: "b", logprobs: null, finish_reason: "stop" },
      { index: 1, text: "c", logprobs: null, finish_reason: "stop", own: 1 },
    ]);
    expect(decoded.summary).toMatchObject({ text: "ab", outputLength: 3, finishReason: "stop" });
    expect(decoded.contentAt).toBe(0);
  });

  it("R9: are complete only with a finish reason for every choice", () => {
    const events = [event({ text: "a", finish_reason: "stop" }), event({ index: 1, text: "b" })];
    expect(repairEvents(events, legacy).error).toMatchObject({ errorClass: "network", isBadResponse: false });
  });
});

it("keeps nothing from one stream to the next", () => {
  const context = anAttempt();
  expect(repairBytes(sse(roleEvent, stopEvent, "[DONE]"), context).chunks).toHaveLength(2);
  expect(repairBytes(sse(roleEvent, stopEvent, "[DONE]"), context).chunks).toHaveLength(2);
});
