import { describe, expect, it } from "vitest";
import { RelayedEvents } from "../../../../src/providers/openai/relayed-events.js";
import { aDelta, repairText, roleEvent, sse, stopEvent } from "../../../support/openai-streams.js";

const utf8 = new TextDecoder("utf-8", { fatal: true });

function relay(expected: number, write: (events: RelayedEvents) => void): string[] {
  const pieces: Uint8Array[] = [];
  const events = new RelayedEvents((piece) => pieces.push(piece));
  events.expected = expected;
  write(events);
  events.flush();
  return pieces.map((piece) => utf8.decode(piece));
}

describe("what one read becomes for its client", () => {
  it("is one piece where it is as long as was expected", () => {
    const pieces = relay(60, (events) => {
      for (const json of ['{"a":1}', '{"b":"é"}', '{"c":"😀"}']) events.add(json);
    });
    expect(pieces).toEqual(['data: {"a":1}\n\ndata: {"b":"é"}\n\ndata: {"c":"😀"}\n\n']);
  });

  it("is in order where it is longer, or its characters are", () => {
    for (const character of ["x", "é", "–", "😀"]) {
      for (const length of [1, 40, 121, 122, 123, 500]) {
        const texts = Array.from({ length: 9 }, (_, position) => `${position}${character.repeat(length)}`);
        const pieces = relay(0, (events) => {
          for (const text of texts) events.add(text);
        });
        expect(pieces.join("")).toBe(texts.map((text) => `data: ${text}\n\n`).join(""));
        for (const piece of pieces) expect(piece).toMatch(/^data: [\s\S]*\n\n$/);
      }
    }
  });

  it("is nothing where nothing was written", () => {
    expect(relay(100, () => {})).toEqual([]);
  });
});

describe("events that are written as words of eight bytes", () => {
  /** The texts of a stream whose events have these members, by both ways. */
  const agree = (members: Record<string, unknown>, text: string, head: Record<string, unknown> = {}) => {
    const events = Array.from({ length: 20 }, (_, position) => aDelta({ content: `${text}${position}` }, members));
    const bytes = sse({ ...roleEvent, ...head }, ...events, stopEvent, "[DONE]");
    expect(repairText(bytes).chunks).toEqual(repairText(bytes, { splices: false }).chunks);
  };

  it("are the same whatever lies at the ends of their words", () => {
    for (let length = 0; length < 20; length++) {
      agree({ own: "x".repeat(length) }, "é");
      agree({ own: "é".repeat(length) }, "x".repeat(length));
      agree({}, "y".repeat(3 * length), { id: "i".repeat(length + 1) });
    }
  });

  it("are the same with the characters that come nearest to no number", () => {
    // DEL beside characters of four bytes, at every place of a word.
    for (let length = 0; length < 9; length++) {
      agree({ own: `${"x".repeat(length)}\u007f😀` }, "a");
      agree({ model: `${"x".repeat(length)}\u007f\u{10ffff}\u007f😀` }, "a");
    }
  });

  it("are the same where hardly anything stands around the text", () => {
    const bytes = sse(
      '{"choices":[{"delta":{"content":"a"}}]}',
      ...Array.from("bcdefgh", (letter) => `{"choices":[{"delta":{"content":"${letter}"}}]}`),
      stopEvent,
    );
    expect(repairText(bytes).chunks).toEqual(repairText(bytes, { splices: false }).chunks);
  });
});
