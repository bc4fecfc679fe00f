import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openaiCompatible } from "../../../../src/providers/openai/facts/openai.js";
import { KnownShapes } from "../../../../src/providers/openai/known-shapes.js";
import { textForm } from "../../../../src/providers/openai/stream.js";
import { openRepairedStream } from "../../../../src/providers/openai/upstream.js";
import { anAttempt } from "../../../support/attempt-context.js";
import {
  aDelta,
  anEvent,
  choicesOf,
  deltasOf,
  repairBytes,
  repairEvents,
  repairText,
  roleEvent,
  type StreamOptions,
  sse,
  stopEvent,
  textsOf,
} from "../../../support/openai-streams.js";
import { decodeStream } from "../../../support/vectors.js";

afterEach(() => vi.restoreAllMocks());

/** What all these streams have left behind, as if they were one upstream's. */
const known = new KnownShapes();

/** The chunks of a stream by all ways, which must agree. */
function expectAgreement(bytes: Uint8Array | Uint8Array[], options: StreamOptions) {
  const pieces = Array.isArray(bytes) ? bytes : [bytes];
  const parsed = repairBytes(pieces, { ...options, splices: false });
  const spliced = repairBytes(pieces, options);
  const texts = repairText(pieces, options);
  // With other line ends nothing is relayed from bytes to bytes.
  const decodedTexts = repairText(pieces.map(withCrLf), options);
  const knownTexts = [1, 2].map(() => repairText(pieces, { ...options, known }));
  expect(spliced.chunks).toEqual(parsed.chunks);
  expect(texts.chunks.map((text) => JSON.parse(text))).toEqual(parsed.chunks);
  expect(decodedTexts.chunks.map((text) => JSON.parse(text))).toEqual(parsed.chunks);
  // Each text is one line, so that it fits one `data:` field (S33).
  for (const text of texts.chunks) expect(text).not.toMatch(/[\r\n]/);
  for (const { chunks } of knownTexts) expect(chunks.map((text) => JSON.parse(text))).toEqual(parsed.chunks);
  for (const decoded of [spliced, texts, decodedTexts, ...knownTexts]) {
    expect(decoded.error?.message).toBe(parsed.error?.message);
    expect(decoded.error?.errorClass).toBe(parsed.error?.errorClass);
    expect(decoded.contentAt).toBe(parsed.contentAt);
    expect(decoded.isDone).toBe(parsed.isDone);
    expect(decoded.summary.usage).toEqual(parsed.summary.usage);
    expect(decoded.summary.outputLength).toBe(parsed.summary.outputLength);
    expect(decoded.summary.hasReasoning).toBe(parsed.summary.hasReasoning);
    expect(decoded.summary.finishReason).toBe(parsed.summary.finishReason);
    expect(decoded.summary.isComplete).toBe(parsed.summary.isComplete);
  }
  expect(spliced.summary.text).toBe(parsed.summary.text);
}

function withCrLf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes.length === 0 ? [] : [...bytes].flatMap((byte) => (byte === 10 ? [13, 10] : [byte])));
}

/** How servers write JSON: compactly, with Python's spaces, or with everything escaped that is not ASCII. */
const writers: readonly ((event: unknown) => string)[] = [
  (event) => JSON.stringify(event),
  (event) => spaced(event),
  (event) => JSON.stringify(event).replace(/[^\x20-\x7e]/g, escapedUnit),
  (event) => JSON.stringify(event).replace(/\//g, "\\/").replace(/é/g, "\\u00E9"),
];

function escapedUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}: ${spaced(member)}`).join(", ")}}`;
}

/** Texts that try to look like the bytes around them. */
const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", " the", "\n", "", "{", '"', "\\", "\u2028", "é", "😀", "\ud83d") },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '"},"finish_reason":"stop"}]}',
      '"},"finish_reason":null}]}',
      '"}}]}',
      '{"delta":{"content":"',
      '"content":"x"',
      '\\"',
      "\\u0041",
      "\\",
      '","obfuscation":"',
      "[DONE]",
      "data: x",
      "\u0001switchyard text\u0001",
      "\u0001switchyard padding\u0001",
    ),
  },
);

const members = fc.record(
  {
    usage: fc.constantFrom(null, { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }, { prompt_tokens: -1 }),
    created: fc.constantFrom(1, 2),
    system_fingerprint: fc.constantFrom(null, "fp"),
    obfuscation: fc.oneof(fc.constantFrom("", "Ab", "xyz12", 'q"'), text),
    provider: fc.constantFrom("p", null, { deep: [1] }),
    text,
    content: text,
  },
  { requiredKeys: [] },
);

const own = fc.record(
  {
    logprobs: fc.constant(null),
    content_filter_results: fc.constantFrom({}, { hate: { filtered: false } }),
    seed: fc.constantFrom(null, 1),
    text,
  },
  { requiredKeys: [] },
);

const index = fc.constantFrom(0, 0, 0, 1);
const delta = fc.oneof(
  { weight: 8, arbitrary: fc.record({ content: text }) },
  { weight: 3, arbitrary: fc.record({ reasoning: text }) },
  { weight: 2, arbitrary: fc.record({ reasoning_content: text, content: fc.constantFrom(null, "", "x") }) },
  {
    weight: 1,
    arbitrary: fc.record({ content: text, refusal: fc.constantFrom(null, "no"), channel: fc.constantFrom("c", null) }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      {},
      { role: "assistant" },
      { role: "assistant", content: "z" },
      { function_call: { arguments: "1" } },
    ),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        index: fc.constantFrom(0, 1, undefined),
        id: fc.constantFrom(undefined, null, "a", "b"),
        arguments: text,
      })
      .map((call) => ({
        tool_calls: [{ index: call.index, id: call.id, type: "function", function: { arguments: call.arguments } }],
      })),
  },
);
const finish = fc.constantFrom<(string | null)[]>(null, null, null, null, null, null, null, null, "", "stop", "length");

const eventText = fc
  .record({ index, delta, finish, own, members, writer: fc.constantFrom(...writers), legacyText: text })
  .map(({ writer, index: choice, legacyText, ...event }) =>
    writer(
      anEvent(
        { index: choice, delta: event.delta, text: legacyText, finish_reason: event.finish, ...event.own },
        event.members,
      ),
    ),
  );

/** Events of a shape that comes again and again, as real streams have them, with others between. */
const streamText = fc
  .tuple(
    fc.array(
      fc.oneof(
        { weight: 5, arbitrary: eventText },
        {
          weight: 3,
          arbitrary: fc
            .tuple(
              fc.constantFrom(...writers),
              fc.constantFrom("content", "reasoning", "reasoning_content"),
              fc.array(text, { maxLength: 8 }),
              fc.boolean(),
            )
            .map(([writer, name, values, isPadded]) =>
              values.map((value, position) =>
                writer(aDelta({ [name]: value }, isPadded ? { obfuscation: "abcdef".slice(position) } : {})),
              ),
            ),
        },
        { weight: 1, arbitrary: fc.constant('{"choices":[]}') },
        { weight: 1, arbitrary: fc.constantFrom("[DONE]", "{", '{"error":{"message":"boom"}}') },
      ),
      { maxLength: 25 },
    ),
    fc.constantFrom(writers[0], writers[1]),
  )
  .map(([events]) => ["", ...events.flat().map((event) => `data: ${event}`), "data: [DONE]", ""].join("\n\n").slice(2));

describe("events of a known shape", () => {
  it("become the same chunks and texts as if each were parsed, whatever they hold", () => {
    const options = fc.record({ includeUsage: fc.boolean(), wantsLogprobs: fc.constantFrom(false, false, true) });
    const operation = fc.constantFrom<("chat.completions" | "completions")[]>(
      "chat.completions",
      "chat.completions",
      "completions",
    );
    const cuts = fc.array(fc.nat(4_000), { maxLength: 4 });
    fc.assert(
      fc.property(streamText, options, operation, cuts, (stream, context, kind, at) => {
        const bytes = new TextEncoder().encode(stream);
        const places = [0, ...at.filter((place) => place < bytes.length).sort((a, b) => a - b), bytes.length];
        const pieces = places.slice(1).map((end, position) => bytes.subarray(places[position], end));
        expectAgreement(pieces, { ...context, operation: kind });
      }),
      { numRuns: 1_000 },
    );
  });

  it("are recognised only by whole literals", () => {
    const shape = JSON.stringify(aDelta({ content: "@" }));
    const literals = [
      "plain",
      '\\n\\t\\\\ \\" \\/ \\b\\f\\r',
      "\\u0041\\ud83d\\ude00\\uD83D",
      "\\u00",
      "\\u00g0",
      "\\x41",
      "tab\there",
      "nul\u0000",
      'quote"quote',
      '","content":"twice',
      '"},"x":{"y":"',
      "\u2028",
      "",
      "\\",
    ];
    for (const literal of literals) {
      const bytes = sse(
        roleEvent,
        shape.replace("@", "a"),
        shape.replace("@", "b"),
        shape.replace("@", () => literal),
        stopEvent,
        "[DONE]",
      );
      expectAgreement(bytes, {});
    }
  });

  it("may hold the key of their text more than once", () => {
    const withKeys = (event: string) =>
      sse(roleEvent, event, event.replace("@", "b"), event.replace(/@/g, "c"), stopEvent, "[DONE]");
    for (const event of [
      '{"content":"@","choices":[{"index":0,"delta":{"content":"@"}}]}',
      '{"choices":[{"index":0,"delta":{"content":"@","content":"@"}}]}',
      '{"choices":[{"index":0,"delta":{"content":"@"},"content":"@"}]}',
      '{"choices":[{"index":0,"delta":{"content":"@"}}],"note":"\\"content\\":\\"@\\""}',
      '{"choices":[{"index":0,"delta":{"reasoning":"@","reasoning_content":"@"}}]}',
      '{"choices":[{"index":0,"delta":{"__proto__":{"content":"@"},"content":"@"}}]}',
    ]) {
      expectAgreement(withKeys(event), {});
    }
  });

  it("carry their text in one place only", () => {
    const similar = [
      (text: string) => `{"choices":[{"index":0,"delta":{"content":"x"},"content":"${text}"}]}`,
      (text: string) => `{"choices":[{"index":0,"delta":{"content":"x"}}],"content":"${text}"}`,
      (text: string) => `{"choices":[{"index":0,"delta":{"content":"x","own":{"content":"${text}"}}}]}`,
      (text: string) => `{"choices":[{"index":0,"delta":{"content":"x"}}],"note":"\\"content\\":\\"${text}\\""}`,
      (text: string) => JSON.stringify(aDelta({ content: text, reasoning: "r" })),
      (text: string) => JSON.stringify(aDelta({ content: text, refusal: "no" })),
      (text: string) => JSON.stringify(aDelta({ content: "c", reasoning: text })),
      (text: string) => JSON.stringify(anEvent({ delta: { content: text } }, { id: "\u0001switchyard text\u0001" })),
      (text: string) =>
        JSON.stringify(aDelta({ content: text }, { own: "\u0001switchyard text\u0001", obfuscation: text })),
    ];
    for (const event of similar) expectAgreement(sse(event("a"), ...["a", "b", "c", "b"].map(event), stopEvent), {});
  });

  it("are not parsed", () => {
    const words = Array.from({ length: 200 }, (_, position) => `w${position}\n"`);
    for (const member of ["content", "reasoning", "reasoning_content"]) {
      const bytes = sse(roleEvent, ...words.map((word) => aDelta({ [member]: word })), stopEvent, "[DONE]");
      const parse = vi.spyOn(JSON, "parse");
      const { chunks } = repairText(bytes);
      expect(chunks).toHaveLength(202);
      expect(parse.mock.calls.length).toBeLessThan(20);
      parse.mockRestore();
    }
  });

  it("are not even decoded by a relay, however their bytes are cut", () => {
    const words = Array.from({ length: 400 }, (_, position) => `${position} – Zürich 😀\n`);
    const bytes = sse(roleEvent, ...words.map((content) => aDelta({ content }, { usage: null })), stopEvent, "[DONE]");
    const pieces = Array.from({ length: Math.ceil(bytes.length / 4_001) }, (_, position) =>
      bytes.subarray(4_001 * position, 4_001 * (position + 1)),
    );
    const decode = vi.spyOn(TextDecoder.prototype, "decode");
    const decoder = openRepairedStream(openaiCompatible, anAttempt({ isStreaming: true }), textForm);
    const { chunks: relayed } = decodeStream(decoder, pieces);
    // The first events, the one at each cut, and the last ones.
    expect(decode.mock.calls.length).toBeLessThan(pieces.length + 10);
    decode.mockRestore();
    const texts = relayed.flatMap(textsOf);
    expect(texts).toHaveLength(402);
    const contents = texts.slice(1, -1).map((text) => JSON.parse(text).choices[0].delta.content);
    expect(contents).toEqual(words);
    expectAgreement(pieces, {});
  });

  it("are relayed as UTF-8 only where they are: of malformed bytes the reader makes replacement characters", () => {
    const malformed = [
      [0xff],
      [0xc3],
      [0xc3, 0x28],
      [0xc0, 0xaf],
      [0xe0, 0x80, 0xaf],
      [0xed, 0xa0, 0x80],
      [0xe2, 0x82],
      [0xf0, 0x80, 0x80, 0xaf],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xf0, 0x9f, 0x98],
      [0x80],
    ];
    const event = (content: Iterable<number>) => {
      const [before = "", after = ""] = JSON.stringify(aDelta({ content: "@" })).split("@");
      const utf8 = new TextEncoder();
      return [...utf8.encode(`data: ${before}`), ...content, ...utf8.encode(`${after}\n\n`)];
    };
    for (const bytes of malformed) {
      const stream = Uint8Array.from([
        ...sse(roleEvent),
        ...event([0x61]),
        ...event([0x62]),
        ...event([0x63, ...bytes]),
        ...event([...bytes, 0x64]),
        ...sse(stopEvent, "[DONE]"),
      ]);
      expectAgreement(stream, {});
      const texts = repairText(stream).chunks.map((text) => JSON.parse(text).choices[0].delta.content ?? "");
      expect(texts.join("")).toMatch(/^abc\ufffd+(?:\()?\ufffd*(?:\()?d$/);
    }
  });

  it("are not parsed where they are padded, interleaved, or fragments of tool calls", () => {
    const call = (position: number, rest: object) => ({ tool_calls: [{ index: position, ...rest }] });
    const streams = [
      Array.from({ length: 100 }, (_, position) =>
        aDelta({ content: "x" }, { obfuscation: "abcdefgh".slice(position % 8) }),
      ),
      Array.from({ length: 100 }, (_, position) => anEvent({ index: position % 3, delta: { content: "x" } })),
      [
        aDelta(call(0, { id: "a", function: { name: "f" } })),
        aDelta(call(1, { id: "b", function: { name: "g" } })),
        ...Array.from({ length: 100 }, (_, position) => aDelta(call(position % 2, { function: { arguments: '"' } }))),
      ],
    ];
    for (const events of streams) {
      const parse = vi.spyOn(JSON, "parse");
      repairText(sse(roleEvent, ...events));
      expect(parse.mock.calls.length).toBeLessThan(40);
      parse.mockRestore();
      expectAgreement(sse(roleEvent, ...events, stopEvent), {});
    }
  });

  it("are padded with plain letters, or else parsed", () => {
    const padded = (obfuscation: string) => aDelta({ content: "x" }, { obfuscation });
    expectAgreement(
      sse(roleEvent, padded("ab"), padded("cd"), padded('e"f\\n'), padded("é"), padded(""), stopEvent),
      {},
    );
  });

  it("end no choice of a legacy completion twice", () => {
    const ending = (text: string) => anEvent({ text, finish_reason: "stop" });
    expectAgreement(sse(anEvent({ text: "a" }), ending("b"), ending("c"), ending("d")), { operation: "completions" });
  });

  it("leave the call that fragments without index continue as it would be", () => {
    const call = (rest: object) => aDelta({ tool_calls: [rest] });
    const events = [
      call({ index: 0, id: "a", function: { name: "f" } }),
      call({ index: 0, function: { arguments: "1" } }),
      call({ index: 1, id: "b", function: { name: "g" } }),
      call({ index: 1, function: { arguments: "2" } }),
      call({ index: 0, function: { arguments: "3" } }),
      call({ function: { arguments: "4" } }),
    ];
    const decoded = repairEvents([...events, stopEvent]);
    expect(deltasOf(decoded).at(-2)).toEqual({ tool_calls: [{ index: 0, function: { arguments: "4" } }] });
    expectAgreement(sse(...events, stopEvent), {});
  });

  it("make chunks that share nothing", () => {
    const events = Array.from({ length: 6 }, () =>
      anEvent({ delta: { content: "x", channel: "c" }, filter: { deep: [1] } }, { own: { a: 1 } }),
    );
    const calls = Array.from({ length: 6 }, () =>
      aDelta({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "x" } }] }),
    );
    for (const stream of [events, calls, Array.from({ length: 6 }, () => aDelta({ content: "x" }))]) {
      const { chunks } = repairEvents([roleEvent, ...stream, stopEvent], { includeUsage: true });
      const seen = new Set<object>();
      const visit = (value: unknown) => {
        if (typeof value !== "object" || value === null) return;
        expect(seen.has(value)).toBe(false);
        seen.add(value);
        Object.values(value).forEach(visit);
      };
      visit(chunks);
    }
  });

  it("are forgotten where no event comes twice", () => {
    const events = Array.from({ length: 300 }, (_, position) => aDelta({ content: "x" }, { own: position }));
    const parse = vi.spyOn(JSON, "parse");
    const decoded = repairBytes(sse(roleEvent, ...events, stopEvent));
    // One parse per event, and a few in vain.
    expect(parse.mock.calls.length).toBeLessThan(330);
    expect(choicesOf(decoded)).toHaveLength(302);
  });
});
