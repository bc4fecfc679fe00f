import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLineReader } from "../../../src/transport/lines.js";

const bytes = (text: string) => new TextEncoder().encode(text);

/** @param cut - Lengths of the pieces; the rest comes at once. */
function linesOf(stream: Uint8Array, cut: readonly number[] = [], maxLineBytes = 1_000_000): string[] {
  const lines: string[] = [];
  const reader = createLineReader({ onLine: (line) => lines.push(line), maxLineBytes });
  let start = 0;
  for (const length of cut) {
    reader.push(stream.subarray(start, start + length));
    start += length;
  }
  reader.push(stream.subarray(start));
  reader.end();
  return lines;
}

describe("createLineReader", () => {
  it("gives each line as soon as its end is there", () => {
    const lines: string[] = [];
    const reader = createLineReader({ onLine: (line) => lines.push(line), maxLineBytes: 100 });
    reader.push(bytes('{"a":1}\n{"b"'));
    expect(lines).toEqual(['{"a":1}']);
    reader.push(bytes(":2}\n"));
    expect(lines).toEqual(['{"a":1}', '{"b":2}']);
    reader.end();
    expect(lines).toHaveLength(2);
  });

  it("gives the last line also without its end, once", () => {
    expect(linesOf(bytes("a\nb"))).toEqual(["a", "b"]);
    expect(linesOf(bytes(""))).toEqual([]);
  });

  it("skips blank lines and takes LF, CR LF and CR", () => {
    expect(linesOf(bytes("\n a \r\n\r\n \t\nb\rc\n\n"))).toEqual([" a ", "b", "c"]);
  });

  it("drops a byte order mark at the start, and only there", () => {
    expect(linesOf(bytes("\ufeffa\n\ufeffb\n"), [1, 1])).toEqual(["a", "\ufeffb"]);
  });

  it("R24: gives the same lines at every cut", () => {
    const stream = bytes('\ufeff{"text":"grün 🚂"}\r\n\n{"次":"の"}\rx\n{"last":true}');
    const whole = linesOf(stream);
    expect(whole).toEqual(['{"text":"grün 🚂"}', '{"次":"の"}', "x", '{"last":true}']);
    for (let first = 0; first <= stream.length; first++) {
      for (let second = 0; second <= stream.length - first; second++) {
        expect(linesOf(stream, [first, second]), `cut at ${first}, ${first + second}`).toEqual(whole);
      }
    }
    expect(
      linesOf(
        stream,
        Array.from(stream, () => 1),
      ),
    ).toEqual(whole);
  });

  it("R24: gives the same lines however any bytes are cut", () => {
    const byte = fc.oneof(fc.constantFrom(10, 13, 0xef, 0xbb, 0xbf, 0xf0, 0x9f, 0x9a, 0x82, 0x61), fc.nat(255));
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.array(byte, { maxLength: 40 }),
        fc.array(fc.nat(5)),
        (a, b, cut) => {
          const stream = Uint8Array.from([...a, ...b]);
          expect(linesOf(stream, cut)).toEqual(linesOf(stream));
        },
      ),
    );
  });

  it("S32: refuses a line over the limit, ended or not, in one piece or in many", () => {
    const limit = { isBadResponse: true, errorClass: "network" };
    for (const cut of [[], Array.from({ length: 11 }, () => 1)]) {
      expect(() => linesOf(bytes("0123456789a"), cut, 10)).toThrow(expect.objectContaining(limit));
      expect(() => linesOf(bytes("0123456789a\n"), cut, 10)).toThrow(expect.objectContaining(limit));
      expect(linesOf(bytes("0123456789\n0123456789"), cut, 10)).toEqual(["0123456789", "0123456789"]);
    }
  });

  it("R24: one byte at a time costs a long line the same per byte as a short one", () => {
    let copied = 0;
    const set = Uint8Array.prototype.set;
    Uint8Array.prototype.set = function count(this: Uint8Array, source: ArrayLike<number>, offset?: number) {
      copied += source.length;
      return set.call(this, source, offset);
    };
    try {
      const stream = new Uint8Array(100_000).fill(0x61);
      expect(
        linesOf(
          stream,
          Array.from(stream, () => 1),
        ),
      ).toHaveLength(1);
    } finally {
      Uint8Array.prototype.set = set;
    }
    // Each byte once, and again each time that the buffer doubled.
    expect(copied).toBeLessThan(4 * 100_000);
  });

  it("passes on what its user throws", () => {
    const failure = new Error("not JSON");
    const reader = createLineReader({
      onLine() {
        throw failure;
      },
      maxLineBytes: 100,
    });
    expect(() => reader.push(bytes("x\n"))).toThrow(failure);
  });
});
