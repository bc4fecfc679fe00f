import type { ParserConfig } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { createSseReader } from "../../../src/transport/sse.js";

const seen = vi.hoisted(() => ({ parserErrors: 0 }));

vi.mock("eventsource-parser", async (importOriginal) => {
  const original = await importOriginal<typeof import("eventsource-parser")>();
  return {
    ...original,
    createParser: (config: ParserConfig) =>
      original.createParser({
        ...config,
        onError(error) {
          seen.parserErrors++;
          config.onError?.(error);
        },
      }),
  };
});

type Event = readonly [data: string, eventName: string | undefined];
const bytes = (text: string) => new TextEncoder().encode(text);

/** @param cut - Lengths of the pieces; the rest comes at once. */
function eventsOf(stream: Uint8Array, cut: readonly number[] = [], maxEventBytes = 1_000_000): Event[] {
  const events: Event[] = [];
  const reader = createSseReader({ onEvent: (data, eventName) => events.push([data, eventName]), maxEventBytes });
  let start = 0;
  for (const length of cut) {
    reader.push(stream.subarray(start, start + length));
    start += length;
  }
  reader.push(stream.subarray(start));
  reader.end();
  return events;
}

const dataOf = (text: string) => eventsOf(bytes(text)).map(([data]) => data);
const badResponse = expect.objectContaining({ errorClass: "network", isBadResponse: true });

describe("createSseReader", () => {
  it("gives data and event name as soon as the event ends", () => {
    const events: Event[] = [];
    const reader = createSseReader({ onEvent: (...event) => events.push(event), maxEventBytes: 1000 });
    reader.push(bytes("data: one\n\nevent: ping\nda"));
    expect(events).toEqual([["one", undefined]]);
    reader.push(bytes("ta: two\n\n"));
    expect(events).toEqual([
      ["one", undefined],
      ["two", "ping"],
    ]);
  });

  it("takes LF, CR LF and CR, with and without the blank after the colon", () => {
    expect(dataOf("data:a\n\ndata: b\r\n\r\ndata:  c\r\rdata\n\n")).toEqual(["a", "b", " c", ""]);
  });

  it("does not wait for what follows a CR", () => {
    const events: string[] = [];
    const reader = createSseReader({ onEvent: (data) => events.push(data), maxEventBytes: 1000 });
    reader.push(bytes("data: a\r\r"));
    expect(events).toEqual(["a"]);
    reader.push(bytes("\ndata: b\r\n\r"));
    expect(events).toEqual(["a", "b"]);
    reader.push(bytes("\ndata: c\n\n"));
    expect(events).toEqual(["a", "b", "c"]);
  });

  it("joins several data lines, drops comments, ids, retry times and unknown fields", () => {
    expect(
      dataOf(": hello\nid: 1\nretry: 10\nretry: x\nfoo: bar\nbaz\ndata: a\n: ping\ndata: b\n\n: only this\n\n"),
    ).toEqual(["a\nb"]);
  });

  it("S31: gives [DONE] like any other data", () => {
    expect(dataOf("data: {}\n\ndata: [DONE]\n\n")).toEqual(["{}", "[DONE]"]);
  });

  it("flushes a last event without its empty line, and without its line end", () => {
    expect(dataOf("data: a\n\ndata: b\n")).toEqual(["a", "b"]);
    expect(dataOf("data: a\n\nevent: x\ndata: b")).toEqual(["a", "b"]);
    expect(dataOf("data: a\n\n")).toEqual(["a"]);
    expect(dataOf("")).toEqual([]);
  });

  it("drops a byte order mark at the start, and only there", () => {
    expect(eventsOf(bytes("\ufeffdata: a\n\ndata: \ufeffb\n\n"), [2])).toEqual([
      ["a", undefined],
      ["\ufeffb", undefined],
    ]);
  });

  it("keeps characters that some take for line ends", () => {
    expect(dataOf("data: a\u2028data: b\u2029\u0085\v\fc\n\n")).toEqual(["a\u2028data: b\u2029\u0085\v\fc"]);
  });

  it("keeps them also once unknown fields have come", () => {
    const text = 'junk\n\ndata: {"a":"\u2028x: y"}\n\ndatafoo: 1\neventfoo\nevent: e\ndata\ndata: z\n\n';
    expect(eventsOf(bytes(text.repeat(3)), [30, 1, 1])).toEqual(
      [0, 1, 2].flatMap(() => [
        ['{"a":"\u2028x: y"}', undefined],
        ["\nz", "e"],
      ]),
    );
  });

  const mixed =
    '\ufeff: comment\r\ndata: {"text":"grün 🚂"}\r\n\r\nevent: 名前\rdata: の\rdata: b\r\rid: 7\nunknown\n\ndata: [DONE]\n\ndata: last';
  const mixedEvents = [
    ['{"text":"grün 🚂"}', undefined],
    ["の\nb", "名前"],
    ["[DONE]", undefined],
    ["last", undefined],
  ];

  it("R24: gives the same events at every cut", () => {
    const stream = bytes(mixed);
    for (let first = 0; first <= stream.length; first++) {
      for (const second of [1, 2, 3, 20]) {
        expect(eventsOf(stream, [first, second]), `cut at ${first}, ${first + second}`).toEqual(mixedEvents);
      }
    }
    expect(
      eventsOf(
        stream,
        Array.from(stream, () => 1),
      ),
    ).toEqual(mixedEvents);
  });

  it("R24: gives the same events however any text is cut", () => {
    const piece = fc.constantFrom(
      "data: ",
      "data",
      "event:",
      ":",
      "id: 1",
      "x",
      "\n",
      "\r",
      "\r\n",
      "\n\n",
      "é",
      "🚂",
      "\u2028",
      " ",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.nat(7)), (pieces, cut) => {
        const stream = bytes(pieces.join(""));
        expect(eventsOf(stream, cut)).toEqual(eventsOf(stream));
      }),
    );
  });

  it("R24: cuts long streams into lines correctly, whatever their lengths", () => {
    const lengths = [0, 1, 2_000, 2_040, 2_047, 2_048, 2_049, 5_000, 100_000];
    const events = lengths.map((length) => "x".repeat(length));
    const stream = bytes(events.map((data) => `data: ${data}\n\n`).join(""));
    expect(eventsOf(stream).map(([data]) => data)).toEqual(events);
    expect(eventsOf(bytes(`junk\n${new TextDecoder().decode(stream)}`)).map(([data]) => data)).toEqual(events);
    expect(eventsOf(stream, [65_536, 1_000]).map(([data]) => data)).toEqual(events);
  });

  it("S32: refuses an event over the limit: one line, complete or not, or several together", () => {
    const line = `data: ${"x".repeat(100)}\n\n`;
    expect(eventsOf(bytes(line), [], 106)).toHaveLength(1);
    expect(() => eventsOf(bytes(line), [], 99)).toThrow(badResponse);
    expect(() => eventsOf(bytes(line.trimEnd()), [50, 10], 99)).toThrow(badResponse);
    expect(() => eventsOf(bytes("data: 0123456789\n".repeat(20)), [], 99)).toThrow(badResponse);
    expect(() => eventsOf(bytes(`: ${"x".repeat(100)}`), [50], 99)).toThrow(badResponse);
    // Many small ones are none.
    expect(eventsOf(bytes("data: 0123456789\n\n".repeat(20)), [], 99)).toHaveLength(20);
  });

  it("R24: a stream of unknown fields reaches the parser, which builds an error for each line, for a moment only", () => {
    seen.parserErrors = 0;
    expect(dataOf(`${"x\n".repeat(32_768)}data: a\n\n${"retry: x\n".repeat(1000)}data: b\n\n`)).toEqual(["a", "b"]);
    expect(seen.parserErrors).toBeGreaterThan(0);
    expect(seen.parserErrors).toBeLessThan(2_000);
  });

  it("passes on what its user throws", () => {
    const failure = new Error("not JSON");
    const reader = createSseReader({
      onEvent() {
        throw failure;
      },
      maxEventBytes: 100,
    });
    expect(() => reader.push(bytes("data: x\n\n"))).toThrow(failure);
  });
});
