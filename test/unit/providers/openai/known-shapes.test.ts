import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { KnownShapes } from "../../../../src/providers/openai/known-shapes.js";
import {
  anEvent,
  repairBytes,
  repairText,
  type StreamOptions,
  sse,
  stopEvent,
} from "../../../support/openai-streams.js";

afterEach(() => vi.restoreAllMocks());

type Members = Record<string, unknown>;

const text = fc.oneof(
  fc.constantFrom("a", " the", "é", "😀", '"', "\\", "\n", '"id":"x"', '","created":5,"', "\u0001switchyard id\u0001"),
  fc.string({ unit: "binary", maxLength: 8 }),
);
const id = fc.oneof(
  fc.constantFrom(
    "chatcmpl-1",
    "chatcmpl-2",
    "",
    'quo"te',
    "back\\slash",
    "é",
    "😀",
    "\u0001switchyard id\u0001",
    "text",
  ),
  fc.constantFrom<unknown>(null, undefined, 7),
);
const created = fc.constantFrom<unknown>(1, 12, 1_741_569_952, 1_741_569_953, 1.5, 0, null, "1", 1_234_567_891, 1e21);

/** What all events of one stream have in common. */
const streamMembers: fc.Arbitrary<Members> = fc.record({
  id,
  created,
  model: fc.constantFrom<unknown>("m", "n", "é", null),
  system_fingerprint: fc.constantFrom<unknown>("fp", "fq", null, undefined),
  service_tier: fc.constantFrom<unknown>("default", undefined, { deep: 1 }),
  usage: fc.constantFrom(null, undefined),
  provider: fc.constantFrom("p", undefined),
});

/** Deltas of one stream, with now and then another id or time than the others'. */
const streamEvents = fc.array(
  fc.record({
    index: fc.constantFrom(0, 0, 0, 1),
    delta: fc.oneof(
      { weight: 6, arbitrary: fc.record({ content: text }) },
      { weight: 2, arbitrary: fc.record({ reasoning_content: text }) },
      { weight: 1, arbitrary: fc.record({ reasoning: text }) },
      {
        weight: 1,
        arbitrary: text.map((value) => ({ tool_calls: [{ index: 0, function: { arguments: value } }] })),
      },
    ),
    finish: fc.constantFrom(null, null, null, null, null, null, "stop"),
    other: fc.oneof(
      { weight: 8, arbitrary: fc.constant({}) },
      { weight: 1, arbitrary: fc.record({ id, created }) },
      { weight: 1, arbitrary: fc.record({ obfuscation: text }) },
      {
        weight: 1,
        arbitrary: fc.record({ model: fc.constantFrom("m", "n"), system_fingerprint: fc.constantFrom("fp", "fq") }),
      },
    ),
  }),
  { maxLength: 12 },
);

const stream = fc.record({ members: streamMembers, events: streamEvents, beginsWithRole: fc.boolean() });

function bytesOf({
  members,
  events,
  beginsWithRole,
}: {
  members: Members;
  events: Members[];
  beginsWithRole: boolean;
}) {
  const body = events.map(({ index, delta, finish, other }) =>
    anEvent({ index, delta, finish_reason: finish }, { ...members, ...(other as Members) }),
  );
  const role = beginsWithRole ? [anEvent({ delta: { role: "assistant", content: "" } }, members)] : [];
  return sse(...role, ...body, anEvent({ delta: {}, finish_reason: "stop" }, members), "[DONE]");
}

function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const cuts = [0, ...places.filter((place) => place < bytes.length).sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((end, position) => bytes.subarray(cuts[position], end));
}

const words = Array.from({ length: 50 }, (_, position) => `w${position}`);
const wordStream = (members: Members) =>
  sse(
    anEvent({ delta: { role: "assistant", content: "" } }, members),
    ...words.map((content) => anEvent({ delta: { content } }, { ...members, usage: null })),
    { ...stopEvent, ...members },
    "[DONE]",
  );

/** How many texts are parsed for a stream; its chunks are checked to be what they are without any template. */
function parsesOf(bytes: Uint8Array, options: StreamOptions): number {
  const parse = vi.spyOn(JSON, "parse");
  const { chunks } = repairText(bytes, options);
  const count = parse.mock.calls.length;
  parse.mockRestore();
  expect(chunks).toEqual(repairText(bytes, { splices: false }).chunks);
  return count;
}

describe("the shapes of an upstream's earlier streams", () => {
  it("make the same of later ones, to the letter, whatever those hold and wherever they are cut", () => {
    // One upstream for all runs: what one stream leaves behind meets all others.
    const known = new KnownShapes();
    const options = fc.record({ includeUsage: fc.boolean(), wantsLogprobs: fc.constantFrom(false, false, true) });
    const streams = fc.array(fc.tuple(stream, options, fc.array(fc.nat(3_000), { maxLength: 3 })), { maxLength: 3 });
    fc.assert(
      fc.property(streams, (one) => {
        // Each twice: the second time after itself.
        for (const [content, context, places] of [...one, ...one]) {
          const pieces = cutAt(bytesOf(content), places);
          const parsed = repairText(pieces, { ...context, splices: false });
          for (const shapes of [known, new KnownShapes()]) {
            const relayed = repairText(pieces, { ...context, known: shapes });
            expect(relayed.chunks).toEqual(parsed.chunks);
            expect(relayed.error?.message).toBe(parsed.error?.message);
            expect(relayed.contentAt).toBe(parsed.contentAt);
            expect(relayed.isDone).toBe(parsed.isDone);
            expect(relayed.summary.outputLength).toBe(parsed.summary.outputLength);
            expect(relayed.summary.hasReasoning).toBe(parsed.summary.hasReasoning);
            expect(relayed.summary.finishReason).toBe(parsed.summary.finishReason);
            expect(relayed.summary.isComplete).toBe(parsed.summary.isComplete);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it("spare later streams the parsing of a first event", () => {
    const known = new KnownShapes();
    const first = parsesOf(wordStream({ id: "a", created: 5 }), { known });
    const second = parsesOf(wordStream({ id: 'b"\\', created: 77_777 }), { known });
    // The role, the end, and nothing of what lies between.
    expect(second).toBe(2);
    expect(first).toBeGreaterThan(second + 2);
  });

  it("count a recognised text as content", () => {
    const known = new KnownShapes();
    repairText(wordStream({ id: "a" }), { known });
    const decoded = repairText(wordStream({ id: "b" }), { known });
    expect(decoded.contentAt).toBe(1);
    expect(decoded.summary.outputLength).toBe(words.join("").length);
  });

  it("are not taken for those of another model, another fingerprint, or another wish of the caller's", () => {
    for (const other of [{ model: "other" }, { system_fingerprint: "fp-2" }, { service_tier: "flex" }]) {
      const known = new KnownShapes();
      parsesOf(wordStream({}), { known });
      expect(parsesOf(wordStream(other), { known })).toBeGreaterThan(2);
    }
    const known = new KnownShapes();
    repairText(wordStream({}), { known });
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
    const bytes = sse(...words.map((content) => anEvent({ delta: { content } })), stopEvent, { choices: [], usage });
    const asked = { includeUsage: true };
    expect(repairText(bytes, { ...asked, known }).chunks.map((chunk) => JSON.parse(chunk))).toEqual(
      repairBytes(bytes, { ...asked, splices: false }).chunks,
    );
  });

  it("are not looked for any more where streams have nothing in common", () => {
    const known = new KnownShapes();
    const counts = Array.from({ length: 60 }, (_, position) =>
      parsesOf(wordStream({ system_fingerprint: `fp-${position}` }), { known }),
    );
    // A shape that is kept is proved by one more parse.
    expect(counts[0]).toBe((counts.at(-1) ?? 0) + 1);
  });

  it("are none of legacy completions", () => {
    const known = new KnownShapes();
    const bytes = sse(...words.map((word) => anEvent({ text: word })), anEvent({ text: "", finish_reason: "stop" }));
    const options = { operation: "completions", known } as const;
    const [first, second] = [repairText(bytes, options), repairText(bytes, options)];
    expect(second.chunks).toEqual(first.chunks);
    expect(second.chunks).toEqual(repairText(bytes, { operation: "completions", splices: false }).chunks);
  });
});
