import { EventStreamCodec } from "@smithy/eventstream-codec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UpstreamError } from "../../../../src/errors/upstream-error.js";
import { type Frame, FrameReader } from "../../../../src/providers/bedrock/frames.js";
import { anEvent, eventFrame, frameOf } from "../../../support/event-stream.js";

const utf8 = new TextEncoder();
const codec = new EventStreamCodec(
  (bytes) => (typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes)),
  (text) => utf8.encode(text),
);

/** What is read of bytes that come in pieces, and what stopped the reading. */
function read(pieces: Iterable<Uint8Array>) {
  const frames: Frame[] = [];
  const reader = new FrameReader(codec, (frame) => frames.push(frame) > 0);
  let error: UpstreamError | undefined;
  try {
    for (const piece of pieces) reader.push(piece);
  } catch (thrown) {
    if (!(thrown instanceof UpstreamError)) throw thrown;
    error = thrown;
  }
  return { texts: frames.map((frame) => [frame.header(":event-type"), frame.payload]), error };
}

const bytes = Buffer.concat([anEvent("a", "one"), anEvent("b", ""), anEvent("c", "drei ß 🌍")]);
const texts = [
  ["a", "one"],
  ["b", ""],
  ["c", "drei ß 🌍"],
];
const altered = (at: number, value?: number) => {
  const copy = Buffer.from(bytes);
  copy[at] = value ?? (copy[at] ?? 0) ^ 0x01;
  return copy;
};

describe("frames of an event stream", () => {
  it("R24: are the same however the bytes are cut", () => {
    expect(read([bytes])).toEqual({ texts, error: undefined });
    expect(read(Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)))).toEqual({
      texts,
      error: undefined,
    });
    for (let at = 0; at <= bytes.length; at++) {
      expect(read([bytes.subarray(0, at), bytes.subarray(at)]), `cut at ${at}`).toEqual({ texts, error: undefined });
    }
    const cuts = fc.array(fc.nat(bytes.length), { maxLength: 8 });
    fc.assert(
      fc.property(cuts, (positions) => {
        const edges = [0, ...positions.sort((a, b) => a - b), bytes.length];
        const pieces = edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
        expect(read(pieces).texts).toEqual(texts);
      }),
      { numRuns: 200 },
    );
  });

  it("are whole or nothing: the last half of a body makes none", () => {
    for (let at = 0; at < anEvent("a", "one").length; at++) expect(read([bytes.subarray(0, at)]).texts).toEqual([]);
  });

  it("are refused with one bit wrong, wherever it is, and with them all that follows", () => {
    const first = anEvent("a", "one").length;
    for (let at = 4; at < first; at++) {
      const { error, texts: before } = read([altered(at)]);
      expect(error, `bit of byte ${at}`).toMatchObject({ errorClass: "network", isBadResponse: true });
      expect(before).toEqual([]);
    }
    const second = read([altered(first + 20)]);
    expect(second.texts).toEqual([["a", "one"]]);
    expect(second.error).toMatchObject({ isBadResponse: true });
  });

  it("S32: are refused as soon as their length cannot be", () => {
    for (const length of [0, 15, 24 * 1_048_576 + 1, 0xffffffff]) {
      const start = Buffer.alloc(4);
      start.writeUInt32BE(length);
      expect(read([start]).error, String(length)).toMatchObject({ errorClass: "network", isBadResponse: true });
      expect(read(Array.from(start, (byte) => Uint8Array.of(byte))).error).toMatchObject({ isBadResponse: true });
    }
    expect(read([Buffer.from([1, 0x80, 0, 0])]).error).toBeUndefined();
  });

  it("R9: are not looked at behind the last one, wherever the bytes are cut", () => {
    const all = Buffer.concat([bytes, Buffer.from("garbage that is no frame")]);
    for (let at = 0; at <= all.length; at++) {
      const frames: Frame[] = [];
      const reader = new FrameReader(codec, (frame) => frames.push(frame) < 3);
      reader.push(all.subarray(0, at));
      if (frames.length < 3) reader.push(all.subarray(at));
      expect(frames.map(({ payload }) => payload)).toEqual(["one", "", "drei ß 🌍"]);
    }
  });

  it("may be large", () => {
    const large = "x".repeat(3_000_000);
    const frame = anEvent("a", large);
    const pieces = Array.from({ length: Math.ceil(frame.length / 65_536) }, (_, index) =>
      frame.subarray(index * 65_536, (index + 1) * 65_536),
    );
    expect(read(pieces).texts).toEqual([["a", large]]);
  });

  it("have headers of other types, which are passed over", () => {
    // true, int32, timestamp and a text, by the letter of the format.
    const headers = Buffer.concat([
      Buffer.from([1, 0x62, 0]),
      Buffer.from([1, 0x69, 4, 0, 0, 0, 1]),
      Buffer.from([1, 0x74, 8, 0, 0, 1, 0, 0, 0, 0, 0]),
      Buffer.from([1, 0x73, 7, 0, 2, 0x68, 0x69]),
    ]);
    const frames: Frame[] = [];
    new FrameReader(codec, (frame) => frames.push(frame) > 0).push(frameOf(headers, utf8.encode("x")));
    expect(["b", "i", "t", "s", "none"].map((name) => frames[0]?.header(name))).toEqual([
      undefined,
      undefined,
      undefined,
      "hi",
      undefined,
    ]);
  });

  it.each([
    ["an unknown type", [1, 0x62, 42]],
    ["a text that is longer than the frame", [1, 0x73, 7, 0xff, 0xff, 0x68]],
    ["a length alone", [200]],
  ])("are refused with a header of %s", (_, header) => {
    const { error, texts: all } = read([frameOf(Buffer.from(header), utf8.encode("x"))]);
    // A text may reach into what follows it: then the header is only another one.
    if (error) expect(error).toMatchObject({ isBadResponse: true });
    else expect(all).toEqual([[undefined, "x"]]);
  });

  it("are refused where the headers are longer than the frame", () => {
    const frame = Buffer.from(eventFrame({ payload: "x" }));
    frame.writeUInt32BE(1_000, 4);
    expect(read([frame]).error).toMatchObject({ isBadResponse: true });
  });

  it("S29: have no headers that they were not given", () => {
    const frames: Frame[] = [];
    const reader = new FrameReader(codec, (frame) => frames.push(frame) > 0);
    reader.push(eventFrame({ headers: { __proto__x: "1", constructor: "2" } }));
    expect(frames[0]?.header("constructor")).toBe("2");
    expect(frames[0]?.header("toString")).toBeUndefined();
    expect(frames[0]?.header("__proto__")).toBeUndefined();
  });

  it("never throw anything but an UpstreamError, whatever comes", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 })).map(([a, b]) => frameOf(a, b)),
    );
    fc.assert(
      fc.property(fc.array(garbage, { maxLength: 6 }), (pieces) => {
        // `read` lets only other errors through.
        read(pieces);
      }),
      { numRuns: 1_000 },
    );
  });
});
