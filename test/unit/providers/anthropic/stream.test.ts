import { describe, expect, it } from "vitest";
import { classify } from "../../../../src/errors/classify.js";
import type { AttemptContext } from "../../../../src/providers/provider.js";
import { connectWire, decodeEvents, decodeText, deltasOf, type Json } from "../../../support/wire-upstreams.js";

const MODEL = "claude-sonnet-4-5";
const upstream = connectWire("anthropic", { model: MODEL });
const decode = (events: readonly unknown[], context: Partial<AttemptContext> = {}) =>
  decodeEvents(upstream, events, { model: MODEL, ...context });

const start = (usage: unknown = { input_tokens: 10, output_tokens: 1 }) => ({
  type: "message_start",
  message: { model: "claude-reported", usage },
});
const opens = (index: number | undefined, content_block: unknown) => ({
  type: "content_block_start",
  index,
  content_block,
});
const delta = (index: number | undefined, fields: Json) => ({ type: "content_block_delta", index, delta: fields });
const says = (text: string, index = 0) => delta(index, { type: "text_delta", text });
const writes = (partial_json: string, index: number | undefined = 0) =>
  delta(index, { type: "input_json_delta", partial_json });
const closes = (index: number | undefined) => ({ type: "content_block_stop", index });
const ends = (stop_reason: string | null = "end_turn", usage: unknown = { output_tokens: 5 }) => ({
  type: "message_delta",
  delta: { stop_reason },
  usage,
});
const STOP = { type: "message_stop" };
const ROLE = { role: "assistant", content: "" };
const toolUse = (id?: string, input: unknown = {}) => ({ type: "tool_use", id, name: "f", input });

describe("Anthropic's streams", () => {
  it("wire S1: are a role, deltas, and one chunk with the finish reason", () => {
    const decoded = decode([start(), opens(0, { type: "text", text: "A" }), says("B"), closes(0), ends(), STOP]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, { content: "B" }, "stop"]);
    expect(decoded).toMatchObject({ error: undefined, isDone: true, contentAt: 1 });
    expect(decoded.summary).toMatchObject({
      text: "AB",
      outputLength: 2,
      finishReason: "stop",
      isComplete: true,
      model: "claude-reported",
    });
    expect(decoded.chunks.every((chunk) => !("usage" in chunk))).toBe(true);
  });

  it("wire S3: tell the usage in a chunk of its own where it was asked for", () => {
    const { chunks, summary } = decode([start(), says("A"), ends(), STOP], { includeUsage: true });
    expect(chunks.map(({ usage }) => usage)).toEqual([
      null,
      null,
      null,
      { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    ]);
    // The caller's copy is the caller's.
    const [last] = chunks.slice(-1);
    if (last?.usage) last.usage.prompt_tokens = 0;
    expect(summary.usage?.prompt_tokens).toBe(10);
  });

  it("have the finish as their first content where the answer is empty", () => {
    expect(decode([start(), ends(), STOP])).toMatchObject({ contentAt: 1, error: undefined });
  });

  it.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["pause_turn", "stop"],
    ["compaction", "stop"],
    [null, "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["refusal", "content_filter"],
    // There is no call: it was of a tool that the API runs itself.
    ["tool_use", "stop"],
  ])("wire C9: the stop reason %s is %s", (reason, expected) => {
    expect(deltasOf(decode([start(), says("A"), ends(reason), STOP])).at(-1)).toBe(expected);
  });

  it("wire C9: whatever ended normally with a call ended with calls", () => {
    for (const reason of ["tool_use", "end_turn", null]) {
      expect(deltasOf(decode([start(), opens(0, toolUse("a")), closes(0), ends(reason), STOP])).at(-1)).toBe(
        "tool_calls",
      );
    }
    expect(deltasOf(decode([start(), opens(0, toolUse("a")), ends("max_tokens"), STOP])).at(-1)).toBe("length");
  });

  it("take the last stop reason that is one", () => {
    const decoded = decode([start(), says("A"), ends("max_tokens"), ends(null), STOP]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "length"]);
  });

  it("give calls ids and indexes where they have none, and empty arguments where those never come", () => {
    const decoded = decode([
      start(),
      opens(undefined, toolUse()),
      writes("", undefined),
      writes("{}", undefined),
      opens(undefined, toolUse()),
      ends("tool_use"),
      STOP,
    ]);
    expect(deltasOf(decoded).slice(1)).toEqual([
      {
        tool_calls: [
          {
            index: 0,
            id: expect.stringMatching(/^call_.{24}$/),
            type: "function",
            function: { name: "f", arguments: "" },
          },
        ],
      },
      { tool_calls: [{ index: 0, function: { arguments: "{}" } }] },
      {
        tool_calls: [
          {
            index: 1,
            id: expect.stringMatching(/^call_.{24}$/),
            type: "function",
            function: { name: "f", arguments: "" },
          },
        ],
      },
      { tool_calls: [{ index: 1, function: { arguments: "{}" } }] },
      "tool_calls",
    ]);
  });

  it("have empty arguments where only empty fragments came", () => {
    const decoded = decode([start(), opens(0, toolUse("a")), writes(""), closes(0), ends("tool_use"), STOP]);
    expect(deltasOf(decoded)[2]).toEqual({ tool_calls: [{ index: 0, function: { arguments: "{}" } }] });
  });

  it("take the input of a call that comes with its announcement", () => {
    const decoded = decode([start(), opens(0, toolUse("a", { x: [1] })), closes(0), ends("tool_use"), STOP]);
    expect(deltasOf(decoded)[2]).toEqual({ tool_calls: [{ index: 0, function: { arguments: '{"x":[1]}' } }] });
  });

  it("keep the fragments of calls apart that are open at the same time", () => {
    const decoded = decode([
      start(),
      opens(0, toolUse("a")),
      opens(1, toolUse("b")),
      writes("1", 0),
      writes("2", 1),
      writes("3", 0),
      closes(0),
      closes(1),
      ends("tool_use"),
      STOP,
    ]);
    expect(deltasOf(decoded).slice(3, 6)).toEqual([
      { tool_calls: [{ index: 0, function: { arguments: "1" } }] },
      { tool_calls: [{ index: 1, function: { arguments: "2" } }] },
      { tool_calls: [{ index: 0, function: { arguments: "3" } }] },
    ]);
  });

  it("do not pass half of a call for a whole one", () => {
    for (const events of [
      [writes("{}")],
      [opens(0, { type: "text", text: "" }), writes("{}")],
      [opens(0, toolUse("a")), closes(0), writes("{}")],
    ]) {
      expect(decode([start(), ...events, ends("tool_use"), STOP]).error).toMatchObject({
        errorClass: "network",
        isBadResponse: true,
      });
    }
  });

  it("S30: have at most 128 calls", () => {
    const calls = (count: number) =>
      Array.from({ length: count }, (_, index) => [opens(index, toolUse(`c${index}`)), closes(index)]).flat();
    expect(decode([start(), ...calls(128), ends("tool_use"), STOP]).error).toBeUndefined();
    expect(decode([start(), ...calls(129), ends("tool_use"), STOP]).error).toMatchObject({ isBadResponse: true });
  });

  it("S27: open at most 128 blocks at the same time", () => {
    const blocks = Array.from({ length: 129 }, (_, index) => opens(index, { type: "text", text: "" }));
    expect(decode([start(), ...blocks, ends(), STOP]).error).toMatchObject({ isBadResponse: true });
  });

  it("take thinking and its signature that come with the announcement", () => {
    const decoded = decode([
      start(),
      opens(0, { type: "thinking", thinking: "Hm.", signature: "s" }),
      closes(0),
      says("A", 1),
      ends(),
      STOP,
    ]);
    expect(deltasOf(decoded).slice(1, 3)).toEqual([
      { reasoning_content: "Hm." },
      { reasoning_details: [{ type: "reasoning.text", signature: "s", format: "anthropic-claude-v1", index: 0 }] },
    ]);
    expect(decoded.summary).toMatchObject({ hasReasoning: true, text: "A", outputLength: 4 });
  });

  it("tell a refusal before the end, wherever its details stand", () => {
    const details = { type: "refusal", category: null, explanation: "No." };
    for (const event of [
      { ...ends("refusal"), stop_details: details },
      { type: "message_delta", delta: { stop_reason: "refusal", stop_details: details } },
    ]) {
      expect(deltasOf(decode([start(), event, STOP]))).toEqual([ROLE, { refusal: "No." }, "content_filter"]);
    }
    expect(deltasOf(decode([start(), ends("refusal"), STOP]))).toEqual([ROLE, "content_filter"]);
  });

  it("do without `event:` lines and without `message_start`, as compatible servers write them", () => {
    const text = [says("A"), ends(), STOP].map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
    const decoded = decodeText(upstream, `${text}data: [DONE]\n\n`, { model: MODEL });
    expect(decoded.error).toBeUndefined();
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(decoded.chunks[0]?.model).toBe(MODEL);
    // Nothing is known of the input.
    expect(decoded.summary.usage).toBeUndefined();
  });

  it("wire S5: drop what is unknown, unread", () => {
    const decoded = decode([
      ": hi\n\n",
      start(),
      "event: news\ndata: {broken\n\n",
      { type: "news" },
      { no: "type" },
      delta(0, { type: "new_delta" }),
      says("A"),
      ends(),
      STOP,
    ]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(decoded.error).toBeUndefined();
  });

  it("drop everything after their end", () => {
    const decoded = decode([
      start(),
      says("A"),
      ends(),
      STOP,
      says("B"),
      { type: "error", error: { type: "api_error", message: "late" } },
    ]);
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }, "stop"]);
    expect(decoded.error).toBeUndefined();
  });

  it.each([
    ["without the end event", [start(), says("A"), ends()]],
    ["by another server's end marker alone", [start(), says("A"), ends(), "data: [DONE]\n\n"]],
    ["without a word about why", [start(), says("A"), STOP]],
    ["before they began", []],
    ["within an event", [start(), says("A"), ends(), 'event: message_stop\ndata: {"type":"message_']],
  ])("R9: are cut when they end %s", (_, events) => {
    const { error, chunks, summary } = decode(events);
    expect(error).toMatchObject({ errorClass: "network", isBadResponse: false });
    expect(summary.isComplete).toBe(false);
    // Wire S4: no finish reason in a stream that broke.
    expect(chunks.flatMap((chunk) => chunk.choices.map(({ finish_reason }) => finish_reason)).filter(Boolean)).toEqual(
      [],
    );
  });

  it("R9: are whole when only the last empty line is missing", () => {
    const decoded = decode([start(), says("A"), ends(), 'event: message_stop\ndata: {"type":"message_stop"}']);
    expect(decoded.error).toBeUndefined();
    expect(deltasOf(decoded).at(-1)).toBe("stop");
  });

  it.each([
    ["invalid JSON", "event: message_delta\ndata: {broken\n\n"],
    ["an event that is no object", "event: message_delta\ndata: []\n\n"],
    ["JSON that nests too deeply (S37)", `event: message_delta\ndata: {"a":${"[".repeat(70)}${"]".repeat(70)}}\n\n`],
  ])("are unreadable with %s, and what came before is delivered", (_, bad) => {
    const decoded = decode([start(), says("A"), bad, says("B"), ends(), STOP]);
    expect(decoded.error).toMatchObject({ errorClass: "network", isBadResponse: true });
    expect(deltasOf(decoded)).toEqual([ROLE, { content: "A" }]);
  });

  it.each([
    [{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, "overloaded"],
    [
      { type: "error", error: { type: "invalid_request_error", message: "prompt is too long: 9 tokens > 8 maximum" } },
      "context_length",
    ],
    [
      {
        type: "error",
        error: { type: "invalid_request_error", message: "Output blocked by content filtering policy" },
      },
      "content_filter",
    ],
    [{ type: "error", error: { type: "invalid_request_error", message: "no" } }, "invalid_request"],
    [{ type: "error", error: { type: "billing_error", message: "no" } }, "quota"],
    [{ type: "error", error: { type: "request_too_large", message: "no" } }, "too_large"],
    [{ type: "error", error: { type: "conflict_error", message: "no" } }, "server"],
    [{ type: "error", error: { type: "timeout_error", message: "no" } }, "timeout"],
    [{ type: "error", error: { type: "something_new", message: "no" } }, "server"],
    [{ type: "error", error: "Boom" }, "server"],
    [{ type: "error" }, "server"],
    [{ error: { message: "no type around" } }, "server"],
    ["event: error\ndata: {}\n\n", "server"],
  ])("report the error %o as %s", (event, errorClass) => {
    const first = decode([event]);
    expect(first.error).toMatchObject({ errorClass });
    expect(first.chunks).toEqual([]);
    const later = decode([start(), says("A"), event, STOP]);
    expect(later.error).toMatchObject({ errorClass });
    expect(deltasOf(later)).toEqual([ROLE, { content: "A" }]);
  });

  it("may be asked again where the class says so", () => {
    const { error } = decode([{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }]);
    if (!error) throw new Error("no error came");
    expect(classify(error, false)).toMatchObject({ outcome: "limited", sameAgain: true });
  });

  describe("usage", () => {
    const usageOf = (...events: unknown[]) => decode([...events, STOP]).summary.usage;
    const counts = (input: number, output: number) => ({ input_tokens: input, output_tokens: output });

    it("wire C7: counts what the cache gave and took as input", () => {
      const usage = {
        input_tokens: 3,
        cache_creation_input_tokens: 40,
        cache_read_input_tokens: 500,
        output_tokens: 1,
      };
      expect(
        usageOf(start(usage), ends("end_turn", { output_tokens: 7, output_tokens_details: { thinking_tokens: 2 } })),
      ).toEqual({
        prompt_tokens: 543,
        completion_tokens: 7,
        total_tokens: 550,
        prompt_tokens_details: { cached_tokens: 500, cache_write_tokens: 40 },
        completion_tokens_details: { reasoning_tokens: 2 },
      });
    });

    it("wire C7: tells of cache writes only where there are some", () => {
      const usage = { input_tokens: 3, cache_creation_input_tokens: 0, output_tokens: 1 };
      expect(usageOf(start(usage), ends())).toEqual({ prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 });
      expect(usageOf(start({ ...usage, cache_read_input_tokens: 0 }), ends())).toMatchObject({
        prompt_tokens_details: { cached_tokens: 0 },
      });
    });

    it("replaces earlier counts by later ones, and passes over nulls", () => {
      const late = { input_tokens: 8, cache_read_input_tokens: null, output_tokens: 2 };
      expect(usageOf(start({ ...counts(0, 0), cache_read_input_tokens: 4 }), ends("end_turn", late))).toMatchObject({
        prompt_tokens: 12,
        completion_tokens: 2,
      });
    });

    it("R18: ignores counts that shrink or cannot be", () => {
      expect(
        usageOf(start(counts(10, 1)), ends("end_turn", counts(3, 6)), ends("end_turn", counts(11, 2))),
      ).toMatchObject({ prompt_tokens: 11, completion_tokens: 6 });
      expect(
        usageOf(start({ input_tokens: -1, output_tokens: 1 }), ends("end_turn", { output_tokens: 5 })),
      ).toBeUndefined();
      expect(usageOf(start(counts(10, 1)), ends("end_turn", { output_tokens: 1.5 }))).toMatchObject({
        completion_tokens: 1,
      });
      expect(usageOf(start("x"), ends("end_turn", []))).toBeUndefined();
    });

    it("is unknown until the end tells it: what the beginning says of the output is only a beginning", () => {
      expect(decode([start(), says("A")]).summary.usage).toBeUndefined();
      expect(usageOf(start(), { type: "message_delta", delta: { stop_reason: "end_turn" } })).toBeUndefined();
      expect(
        decode([start(), says("A"), { type: "message_delta", delta: { stop_reason: "end_turn" } }, STOP], {
          includeUsage: true,
        }).chunks.at(-1)?.choices,
      ).toHaveLength(1);
    });
  });
});
