import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { routerError } from "../../../src/errors/router-error.js";
import { DONE_EVENT, errorEvent, eventsOf, framesOf } from "../../../src/http/event-stream.js";

function dataOf(events: string): string[] {
  const data: string[] = [];
  createParser({ onEvent: (event) => data.push(event.data) }).feed(events);
  return data;
}

describe("writing events", () => {
  it("frames all texts of a batch in one text", () => {
    expect(eventsOf(['{"a":1}', '{"b":2}'])).toBe('data: {"a":1}\n\ndata: {"b":2}\n\n');
  });

  it("takes events that are framed already as they are, in their order", () => {
    const framed = new TextEncoder().encode('data: {"b":2}\n\n');
    expect(framesOf([framed])).toEqual([framed]);
    expect(framesOf(["1", "2", framed, framed, "3"])).toEqual([
      "data: 1\n\ndata: 2\n\n",
      framed,
      framed,
      "data: 3\n\n",
    ]);
    expect(framesOf([])).toEqual([]);
  });

  it("S31: ends with exactly [DONE]", () => {
    expect(DONE_EVENT).toBe("data: [DONE]\n\n");
  });

  it("S33: keeps an event on one line, also where its JSON has line breaks between tokens", () => {
    expect(eventsOf(['{\r\n  "a": 1\n}'])).toBe('data: {   "a": 1 }\n\n');
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: 0, max: 3 }), (text, spaces) => {
        const value: unknown = JSON.parse(text);
        const events = eventsOf([JSON.stringify(value, null, spaces)]);
        expect(events.slice(0, -2)).not.toMatch(/[\r\n]/);
        expect(dataOf(events).map((data) => JSON.parse(data))).toEqual([value]);
      }),
    );
  });

  it("R5: puts the error of a broken stream into one event", () => {
    expect(dataOf(errorEvent(routerError("upstream_error", { message: "line\nbreak" })))).toEqual([
      JSON.stringify({ error: { message: "line\nbreak", type: "server_error", param: null, code: "upstream_error" } }),
    ]);
  });
});
